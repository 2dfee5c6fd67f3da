"""A job's samples over a span of time, with its operations."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from functools import partial
from itertools import groupby, pairwise
from typing import Any

from sqlalchemy import Row, select
from sqlalchemy.orm import Session

from sluice.fleet.page.models import Timeline, TimelineEvent, VerdictSpan
from sluice.fleet.page.moments import unix
from sluice.health.verdict import VerdictState
from sluice.ledger.samples import Sample
from sluice.ledger.tables import Operation
from sluice.ledger.values import Outcome

POINTS = 480
"""Points of a chart at most: it is hardly more pixels wide."""
_WORST: dict[str, Callable[[Sequence[float]], float]] = {
    "consumer_lag": max,
    "watermark_lag_ms": max,
    "records_in_per_s": min,
    "records_out_per_s": min,
    "checkpoint_age_ms": max,
    "checkpoint_duration_ms": max,
}
"""Which of several samples a point of the chart shows: the worst."""


def read_timeline(session: Session, environment: str, job: str, since: datetime, until: datetime) -> Timeline:
    """A job's timeline between two times."""
    columns = [getattr(Sample, name) for name in _WORST]
    query = select(Sample.at, Sample.verdict, *columns).where(
        Sample.environment == environment, Sample.job == job, Sample.at >= since, Sample.at <= until
    )
    rows = session.execute(query.order_by(Sample.at)).all()
    groups = thin(rows, POINTS)
    return Timeline(
        since=unix(since),
        until=unix(until),
        at=tuple(unix(group[-1].at) for group in groups),
        **{name: tuple(map(partial(_worst, name), groups)) for name in _WORST},
        samples=len(rows),
        marks=tuple(sorted([*_changes(rows), *_operations(session, environment, job, since, until)], key=_moment)),
        verdicts=tuple(_spans([(unix(row.at), row.verdict) for row in rows], unix(until))),
    )


def thin(rows: Sequence[Row[*tuple[Any, ...]]], points: int) -> list[list[Row[*tuple[Any, ...]]]]:
    """The rows in their order, in at most so many groups."""
    size = max(1, math.ceil(len(rows) / points))
    return [list(rows[first : first + size]) for first in range(0, len(rows), size)]


def _worst(name: str, group: Iterable[Row[*tuple[Any, ...]]]) -> Any:
    values = [value for row in group if (value := getattr(row, name)) is not None]
    return _WORST[name](values) if values else None


def _changes(rows: Sequence[Row[*tuple[Any, ...]]]) -> list[TimelineEvent]:
    return [
        TimelineEvent(
            at=unix(after.at), kind="verdict", words=f"{before.verdict} → {after.verdict}", outcome=after.verdict
        )
        for before, after in pairwise(rows)
        if before.verdict != after.verdict
    ]


def _operations(session: Session, environment: str, job: str, since: datetime, until: datetime) -> list[TimelineEvent]:
    columns = (Operation.kind, Operation.release, Operation.outcome, Operation.started_at, Operation.ended_at)
    query = select(*columns, Operation.downtime_ms).where(
        Operation.environment == environment,
        Operation.job == job,
        Operation.started_at >= since,
        Operation.started_at <= until,
    )
    return [
        TimelineEvent(
            at=unix(row.ended_at or row.started_at), kind=row.kind, words=_words(row), outcome=row.outcome or "going on"
        )
        for row in session.execute(query)
        # A deploy that found nothing to do is no event.
        if row.outcome != Outcome.UNCHANGED
    ]


def _words(row: Row[*tuple[Any, ...]]) -> str:
    down = "" if row.downtime_ms is None else f", {row.downtime_ms / 1000:.1f} s down"
    return f"{row.kind} of release {row.release}: {row.outcome or 'going on'}{down}"


def _spans(moments: Iterable[tuple[float, VerdictState]], until: float) -> list[VerdictSpan]:
    begun = [(verdict, next(iter(group))[0]) for verdict, group in groupby(moments, key=lambda moment: moment[1])]
    ends = [*(at for _, at in begun[1:]), until]
    return [VerdictSpan(since=at, until=end, verdict=verdict) for (verdict, at), end in zip(begun, ends, strict=False)]


def _moment(mark: TimelineEvent) -> float:
    return mark.at
