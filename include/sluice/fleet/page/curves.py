"""The last hours of every job, for the small charts of the fleet page."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from sqlalchemy import select
from sqlalchemy.orm import Session

from sluice.fleet.page.fleet import last_sweep
from sluice.fleet.page.models import Curve, Curves
from sluice.fleet.page.moments import unix
from sluice.ledger.samples import Sample

SPAN = timedelta(hours=6)
POINTS = 36
"""Points of a chart at most: of more frequent sweeps, every second, third and so on is shown."""


def read_curves(session: Session, environment: str, is_shown: Callable[[str], bool] | None = None) -> Curves:
    """Lag and watermark lag at the sweeps of the last hours, of the jobs for which `is_shown`; None: of all."""
    last = last_sweep(session, environment)
    if last is None:
        return Curves(at=(), jobs={})
    of_span = select(Sample.at).where(Sample.environment == environment, Sample.at > last - SPAN)
    moments = list(session.scalars(of_span.distinct().order_by(Sample.at.desc())))
    chosen = moments[:: -(-len(moments) // POINTS)][::-1]
    lags: dict[str, list[int | None]] = {}
    watermarks: dict[str, list[int | None]] = {}
    for number, moment in enumerate(chosen):
        query = select(Sample.job, Sample.consumer_lag, Sample.watermark_lag_ms)
        for job, lag, watermark in session.execute(query.where(Sample.environment == environment, Sample.at == moment)):
            if is_shown is not None and not is_shown(job):
                continue
            if job not in lags:
                lags[job], watermarks[job] = [None] * len(chosen), [None] * len(chosen)
            lags[job][number], watermarks[job][number] = lag, watermark
    # Tens of thousands of values from the ledger, whose types are known: model_construct doesn't validate them again.
    jobs = {
        job: Curve.model_construct(lag=tuple(values), watermark_lag_ms=tuple(watermarks[job]))
        for job, values in sorted(lags.items())
    }
    return Curves.model_construct(at=tuple(unix(moment) for moment in chosen), jobs=jobs)
