"""All jobs, a row each: the last sweep's result, and what the ledger and the files have since."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Row, func, select
from sqlalchemy.orm import Session

from sluice.fleet.page.models import ActiveOperation, Fleet, FleetRow, LastDeploy, PendingApproval
from sluice.fleet.page.moments import format_utc, unix
from sluice.ledger.approvals import AskedApproval
from sluice.ledger.samples import Sample
from sluice.ledger.tables import Operation, Placement, Release
from sluice.settings import JOBS_PACKAGE

UNMANAGED = ("undeclared", "duplicate", "removed")
"""States of jobs that have no file."""
_SEEN = (
    Sample.job, Sample.at, Sample.state, Sample.verdict, Sample.reasons, Sample.release, Sample.flink_job_id,
    Sample.drift, Sample.consumer_lag, Sample.lag_per_s, Sample.watermark_lag_ms, Sample.records_in_per_s,
    Sample.checkpoint_age_ms, Sample.restarts, Sample.recent_restarts,
)  # fmt: skip
"""All columns of a sample but its readings, which are ten times as large."""
_NAMES = tuple(column.key for column in _SEEN)
_DOWN_PHASES = ("suspended", "suspending", "stopped", "stopping")
_STARTING_KINDS = ("deploy", "rollback", "resume")


@dataclass(frozen=True)
class _LedgerRows:
    """The ledger's data of the jobs, by their names."""

    seen: Mapping[str, Row[*tuple[Any, ...]]]
    places: Mapping[str, tuple[Placement, datetime | None]]
    """Each with the time at which the release passed its gates."""
    deploys: Mapping[str, LastDeploy]
    going_on: Mapping[str, ActiveOperation]
    waiting: Mapping[str, PendingApproval]


def read_fleet(session: Session, environment: str, root: Path | None) -> Fleet:
    """All jobs of the environment.

    Args:
        session: Of the ledger.
        environment: The jobs' environment.
        root: The project's directory, for jobs that no sweep has read yet; None: it isn't on this machine.
    """
    known = _read(session, environment)
    files = set(declared(root))
    off = {job for job, (place, _) in known.places.items() if place.is_forgotten and job not in files}
    # A job whose file is back on another machine has a row in the last sweep like any other.
    seen = {job for job, row in known.seen.items() if job not in off or row.state != "removed"}
    names = {*seen, *(known.places.keys() - off), *files}
    swept = next((row.at for row in known.seen.values()), None)
    return Fleet(
        environment=environment,
        swept_at=unix(swept),
        rows=tuple(_row(name, known) for name in sorted(names)),
    )


def read_row(session: Session, environment: str, root: Path | None, job: str) -> FleetRow | None:
    """One job's row; None: there is no job of that name."""
    known = _read(session, environment, job)
    is_known = job in known.seen or job in known.places or job in declared(root)
    return _row(job, known) if is_known else None


def last_sweep(session: Session, environment: str) -> datetime | None:
    """When the last run of `redeploy_and_verify` began to check the jobs; None: there was none."""
    return session.scalar(select(func.max(Sample.at)).where(Sample.environment == environment))


def declared(root: Path | None) -> list[str]:
    """The names of the jobs that the project's files declare: a file is named after its job. No file is imported."""
    if root is None:
        return []
    return [file.stem for file in (root / JOBS_PACKAGE).glob("[!_]*.py")]


def _read(session: Session, environment: str, job: str | None = None) -> _LedgerRows:
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
    return _LedgerRows(
        seen={row.job: row for row in session.execute(seen)},
        places={place.job: (place, healthy_at) for place, healthy_at in session.execute(places)},
        deploys=_deploys(session, environment, job),
        going_on=_active_operations(session, environment, job),
        waiting=_pending_approvals(session, environment, job),
    )


def _deploys(session: Session, environment: str, job: str | None) -> dict[str, LastDeploy]:
    newest = select(Operation.job, func.max(Operation.started_at).label("started_at")).where(
        Operation.environment == environment,
        Operation.kind.in_(_STARTING_KINDS),
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


def _active_operations(session: Session, environment: str, job: str | None) -> dict[str, ActiveOperation]:
    columns = (Operation.job, Operation.kind, Operation.release, Operation.started_at, Operation.holder)
    query = select(*columns).where(Operation.environment == environment, Operation.active_job.is_not(None))
    if job is not None:
        query = query.where(Operation.active_job == job)
    return {
        row.job: ActiveOperation(kind=row.kind, release=row.release, since=unix(row.started_at), holder=row.holder)
        for row in session.execute(query)
    }


def _pending_approvals(session: Session, environment: str, job: str | None) -> dict[str, PendingApproval]:
    query = select(AskedApproval).where(
        AskedApproval.environment == environment,
        AskedApproval.waiting_job.is_not(None),
        AskedApproval.until > datetime.now(UTC),
    )
    if job is not None:
        query = query.where(AskedApproval.waiting_job == job)
    return {
        asked.job: PendingApproval(
            kind=asked.plan["kind"],
            since=unix(asked.asked_at),
            until=unix(asked.until),
            why=asked.why,
            link=asked.link,
        )
        for asked in session.scalars(query)
    }


def _row(job: str, known: _LedgerRows) -> FleetRow:
    own = {
        "last_deploy": known.deploys.get(job),
        "going_on": known.going_on.get(job),
        "waiting": known.waiting.get(job),
    }
    seen = known.seen.get(job)
    place, healthy_at = known.places.get(job, (None, None))
    if place is not None and _is_outdated(seen, place):
        return FleetRow(job=job, release=place.release, **_from_placement(place, healthy_at), **own)
    if seen is None:
        words = ("declared after the last sweep; the next sweep reads it",)
        return FleetRow(job=job, state="new", verdict="unknown", reasons=words, **own)
    figures = {name: value for name, value in zip(_NAMES, seen, strict=True) if name in FleetRow.model_fields}
    return FleetRow(seen_at=unix(seen.at), **figures, **own)


def _is_outdated(seen: Row[*tuple[Any, ...]] | None, place: Placement) -> bool:
    """Whether the job's placement has changed since the last sweep read it."""
    if seen is None:
        return True
    if place.since <= seen.at:
        return False
    rests = place.phase in _DOWN_PHASES
    return place.flink_job_id != seen.flink_job_id or (rests and seen.state != place.phase)


def _from_placement(place: Placement, healthy_at: datetime | None) -> dict[str, Any]:
    """The fields of a job that has changed after the last sweep, from its placement."""
    if place.phase in _DOWN_PHASES:
        return {
            "state": place.phase,
            "verdict": "unknown",
            "reasons": (f"{place.phase} since {format_utc(place.since)}; no sweep has looked since",),
        }
    if healthy_at is not None:
        words = f"release {place.release} has passed its gates, last started at {format_utc(place.since)}"
        return {"state": "RUNNING", "verdict": "healthy", "reasons": (f"{words}; no sweep has looked since",)}
    words = f"release {place.release} was started at {format_utc(place.since)}; no sweep has looked since"
    return {"state": "starting", "verdict": "unknown", "reasons": (words,)}


def with_rows(fleet: Fleet, rows: Iterable[FleetRow]) -> Fleet:
    """The fleet with these rows only."""
    return fleet.model_copy(update={"rows": tuple(rows)})
