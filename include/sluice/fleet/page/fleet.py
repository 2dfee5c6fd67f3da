"""Every job in a row: what the last sweep has seen, and what the ledger and the files know since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from sluice.fleet.page.models import Fleet, FleetRow, GoingOn, LastDeploy, Waiting
from sluice.fleet.page.moments import in_words, unix
from sluice.ledger.approvals import AskedApproval
from sluice.ledger.samples import Sample
from sluice.ledger.tables import Operation, Placement, Release
from sluice.settings import JOBS_PACKAGE

STRANGERS = ("undeclared", "duplicate", "removed")
"""States of jobs that no file declares."""
_SEEN = (
    Sample.job, Sample.at, Sample.state, Sample.verdict, Sample.reasons, Sample.release, Sample.flink_job_id,
    Sample.drift, Sample.consumer_lag, Sample.lag_per_s, Sample.watermark_lag_ms, Sample.records_in_per_s,
    Sample.checkpoint_age_ms, Sample.restarts, Sample.recent_restarts,
)  # fmt: skip
"""All but the readings, which are ten times as large as the rest."""
_NAMES = tuple(column.key for column in _SEEN)
_AT_REST = ("suspended", "suspending", "stopped", "stopping")
_RUNS_AFTERWARDS = ("deploy", "rollback", "resume")


@dataclass(frozen=True)
class _Known:
    """What the ledger knows of the jobs, by their names."""

    seen: Mapping[str, Row[*tuple[Any, ...]]]
    places: Mapping[str, tuple[Placement, datetime | None]]
    """With the moment at which the release has passed its gates."""
    deploys: Mapping[str, LastDeploy]
    going_on: Mapping[str, GoingOn]
    waiting: Mapping[str, Waiting]


def read_fleet(session: Session, environment: str, root: Path | None) -> Fleet:
    """Every job of the environment.

    Args:
        session: The ledger's.
        environment: Whose jobs.
        root: The project's directory, for jobs that no sweep has looked at yet; None: it isn't on this machine.
    """
    known = _read(session, environment)
    files = set(declared(root))
    off = {job for job, (place, _) in known.places.items() if place.is_forgotten and job not in files}
    # One whose file is back on another machine was seen by the last sweep, as any other.
    seen = {job for job, row in known.seen.items() if job not in off or row.state != "removed"}
    names = {*seen, *(known.places.keys() - off), *files}
    swept = next((row.at for row in known.seen.values()), None)
    return Fleet(
        environment=environment,
        swept_at=unix(swept),
        rows=tuple(_row(name, known) for name in sorted(names)),
    )


def read_row(session: Session, environment: str, root: Path | None, job: str) -> FleetRow | None:
    """One job's row; None: nobody knows a job of that name."""
    known = _read(session, environment, job)
    is_known = job in known.seen or job in known.places or job in declared(root)
    return _row(job, known) if is_known else None


def last_sweep(session: Session, environment: str) -> datetime | None:
    """When the last sweep began; None: there was none."""
    return session.scalar(select(func.max(Sample.at)).where(Sample.environment == environment))


def declared(root: Path | None) -> list[str]:
    """The jobs that the project's files should give: a file is named after its job. None of them is read."""
    if root is None:
        return []
    return [file.stem for file in (root / JOBS_PACKAGE).glob("[!_]*.py")]


def _read(session: Session, environment: str, job: str | None = None) -> _Known:
    seen = select(*_SEEN).where(Sample.environment == environment, Sample.at == last_sweep(session, environment))
    places = (
        select(Placement, Release.healthy_at)
        .join(
            Release,
            (Release.environment == Placement.environment)
            & (Release.job == Placement.job)
            & (Release.number == Placement.release),
        )
        .where(Placement.environment == environment)
    )
    if job is not None:
        seen, places = seen.where(Sample.job == job), places.where(Placement.job == job)
    return _Known(
        seen={row.job: row for row in session.execute(seen)},
        places={place.job: (place, healthy_at) for place, healthy_at in session.execute(places)},
        deploys=_deploys(session, environment, job),
        going_on=_going_on(session, environment, job),
        waiting=_waiting(session, environment, job),
    )


def _deploys(session: Session, environment: str, job: str | None) -> dict[str, LastDeploy]:
    newest = select(Operation.job, func.max(Operation.started_at).label("started_at")).where(
        Operation.environment == environment,
        Operation.kind.in_(_RUNS_AFTERWARDS),
        Operation.outcome.not_in(("unchanged", "abandoned")),
    )
    if job is not None:
        newest = newest.where(Operation.job == job)
    chosen = newest.group_by(Operation.job).subquery()
    columns = (Operation.job, Operation.kind, Operation.outcome, Operation.release, Operation.ended_at)
    query = select(*columns, Operation.downtime_ms).join(
        chosen, (Operation.job == chosen.c.job) & (Operation.started_at == chosen.c.started_at)
    )
    return {
        row.job: LastDeploy(
            kind=row.kind,
            outcome=row.outcome,
            release=row.release,
            ended_at=unix(row.ended_at),
            downtime_ms=row.downtime_ms,
        )
        for row in session.execute(query.where(Operation.environment == environment, Operation.outcome.is_not(None)))
    }


def _going_on(session: Session, environment: str, job: str | None) -> dict[str, GoingOn]:
    columns = (Operation.job, Operation.kind, Operation.release, Operation.started_at, Operation.holder)
    query = select(*columns).where(Operation.environment == environment, Operation.active_job.is_not(None))
    if job is not None:
        query = query.where(Operation.active_job == job)
    return {
        row.job: GoingOn(kind=row.kind, release=row.release, since=unix(row.started_at), holder=row.holder)
        for row in session.execute(query)
    }


def _waiting(session: Session, environment: str, job: str | None) -> dict[str, Waiting]:
    query = select(AskedApproval).where(
        AskedApproval.environment == environment,
        AskedApproval.waiting_job.is_not(None),
        AskedApproval.until > datetime.now(UTC),
    )
    if job is not None:
        query = query.where(AskedApproval.waiting_job == job)
    return {
        asked.job: Waiting(
            kind=asked.plan["kind"],
            since=unix(asked.asked_at),
            until=unix(asked.until),
            why=asked.why,
            link=asked.link,
        )
        for asked in session.scalars(query)
    }


def _row(job: str, known: _Known) -> FleetRow:
    own = {
        "last_deploy": known.deploys.get(job),
        "going_on": known.going_on.get(job),
        "waiting": known.waiting.get(job),
    }
    seen = known.seen.get(job)
    place, healthy_at = known.places.get(job, (None, None))
    if place is not None and _is_overtaken(seen, place):
        return FleetRow(job=job, release=place.release, **_since(place, healthy_at), **own)
    if seen is None:
        words = ("declared since; the next sweep looks at it",)
        return FleetRow(job=job, state="new", verdict="unknown", reasons=words, **own)
    figures = {name: value for name, value in zip(_NAMES, seen, strict=True) if name in FleetRow.model_fields}
    return FleetRow(seen_at=unix(seen.at), **figures, **own)


def _is_overtaken(seen: Row[*tuple[Any, ...]] | None, place: Placement) -> bool:
    """The job stands elsewhere by now than where the last sweep has seen it."""
    if seen is None:
        return True
    if place.since <= seen.at:
        return False
    rests = place.phase in _AT_REST
    return place.flink_job_id != seen.flink_job_id or (rests and seen.state != place.phase)


def _since(place: Placement, healthy_at: datetime | None) -> dict[str, Any]:
    """What the ledger knows of a job that has changed after the last sweep."""
    if place.phase in _AT_REST:
        return {
            "state": place.phase,
            "verdict": "unknown",
            "reasons": (f"{place.phase} since {in_words(place.since)}; no sweep has looked since",),
        }
    if healthy_at is not None:
        words = f"release {place.release} has passed its gates, last started at {in_words(place.since)}"
        return {"state": "RUNNING", "verdict": "healthy", "reasons": (f"{words}; no sweep has looked since",)}
    words = f"release {place.release} was started at {in_words(place.since)}; no sweep has looked since"
    return {"state": "starting", "verdict": "unknown", "reasons": (words,)}


def of_rows(fleet: Fleet, rows: Iterable[FleetRow]) -> Fleet:
    """The fleet with some of its rows alone."""
    return fleet.model_copy(update={"rows": tuple(rows)})
