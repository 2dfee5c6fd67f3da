"""One job: its releases, operations, savepoints and replays."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

from sqlalchemy import select
from sqlalchemy.orm import Session

from sluice.fleet.page.fleet import last_sweep, read_row
from sluice.fleet.page.models import (
    HealthLimits,
    JobView,
    OperationView,
    ReleaseView,
    ReplayView,
    SavepointView,
    StageView,
)
from sluice.fleet.page.moments import unix
from sluice.fleet.page.secret import SecretSettings, read_secret_settings
from sluice.job.duration import milliseconds
from sluice.job.limits import Health
from sluice.ledger.replay_tables import ReplayChunk, ReplayRun
from sluice.ledger.tables import JournalEntry, Operation, Placement, Release, Savepoint
from sluice.ledger.values import Phase

NEWEST = 30
"""The newest releases, operations, savepoints and replays: so many of each are shown."""


def read_job(session: Session, environment: str, root: Path | None, job: str) -> JobView | None:
    """A job of the environment; None: there is no job of that name."""
    row = read_row(session, environment, root, job)
    if row is None:
        return None
    place = session.get(Placement, (environment, job))
    releases = _newest(session, Release, Release.number, environment, job)
    secret = read_secret_settings(session, environment, job)
    of_place = next((release for release in releases if place and release.number == place.release), None)
    return JobView(
        environment=environment,
        swept_at=unix(last_sweep(session, environment)),
        row=row,
        phase=place.phase if place else None,
        phase_since=unix(place.since) if place else None,
        flink_job_id=place.flink_job_id if place else None,
        limits=_limits(of_place.health) if of_place and of_place.health else None,
        overrides=secret.redact(of_place.overrides) if of_place else {},
        releases=tuple(_release(release, place, secret) for release in releases),
        operations=tuple(_operations(session, environment, job)),
        savepoints=tuple(
            _savepoint(savepoint, place) for savepoint in _newest(session, Savepoint, Savepoint.id, environment, job)
        ),
        replays=tuple(_replays(session, environment, job)),
    )


def _newest(session: Session, table: Any, order: Any, environment: str, job: str) -> list[Any]:
    query = select(table).where(table.environment == environment, table.job == job)
    return list(session.scalars(query.order_by(order.desc()).limit(NEWEST)))


def _limits(values: Mapping[str, Any]) -> HealthLimits:
    health = Health.model_validate(values)
    return HealthLimits(
        consumer_lag=health.consumer_lag,
        watermark_lag_ms=milliseconds(health.watermark_lag),
        checkpoint_age_ms=milliseconds(health.checkpoint_age),
    )


def _release(release: Release, place: Placement | None, secret: SecretSettings) -> ReleaseView:
    return ReleaseView(
        number=release.number,
        created_at=unix(release.created_at),
        healthy_at=unix(release.healthy_at),
        fingerprint=release.fingerprint,
        artifact=release.artifact,
        overrides=secret.redact(release.overrides),
        runs=place is not None and place.phase == Phase.RUNNING and place.release == release.number,
    )


def _operations(session: Session, environment: str, job: str) -> Iterable[OperationView]:
    found = _newest(session, Operation, Operation.started_at, environment, job)
    journal: dict[str, list[JournalEntry]] = defaultdict(list)
    entries = select(JournalEntry).where(JournalEntry.operation.in_([operation.id for operation in found]))
    for entry in session.scalars(entries.order_by(JournalEntry.operation, JournalEntry.number)):
        journal[entry.operation].append(entry)
    for operation in found:
        plan = operation.plan or {}
        yield OperationView(
            id=operation.id,
            kind=operation.kind,
            release=operation.release,
            former_release=operation.former_release,
            mode=operation.mode,
            action=plan.get("action"),
            category=plan.get("category"),
            started_at=unix(operation.started_at),
            ended_at=unix(operation.ended_at),
            outcome=operation.outcome,
            reason=operation.reason,
            note=operation.note,
            holder=operation.holder,
            approved_by=operation.approved_by,
            downtime_ms=operation.downtime_ms,
            savepoint=operation.savepoint,
            restored_from=operation.restored_from,
            stages=tuple(_stages(operation, journal[operation.id])),
        )


def _stages(operation: Operation, entries: Sequence[JournalEntry]) -> list[StageView]:
    """An operation's stages, from consecutive journal entries; each lasts until the next one or the operation's end."""
    runs = [(stage, list(group)) for stage, group in groupby(entries, key=lambda entry: entry.stage)]
    ends = [*(group[0].at for _, group in runs[1:]), operation.ended_at or (entries[-1].at if entries else None)]
    return [
        StageView(
            stage=stage,
            began_at=unix(group[0].at),
            ms=round(((end or group[-1].at) - group[0].at).total_seconds() * 1000),
            events=tuple(entry.event for entry in group),
        )
        for (stage, group), end in zip(runs, ends, strict=False)
    ]


def _savepoint(savepoint: Savepoint, place: Placement | None) -> SavepointView:
    return SavepointView(
        path=savepoint.path,
        release=savepoint.release,
        taken_at=unix(savepoint.taken_at),
        deleted_at=unix(savepoint.deleted_at),
        in_use=place is not None and savepoint.path in (place.restored_from, place.state_path),
    )


def _replays(session: Session, environment: str, job: str) -> Iterable[ReplayView]:
    found = _newest(session, ReplayRun, ReplayRun.started_at, environment, job)
    states: dict[str, Counter[str]] = defaultdict(Counter)
    chunks = select(ReplayChunk.replay, ReplayChunk.state).where(ReplayChunk.replay.in_([each.id for each in found]))
    for replay, state in session.execute(chunks):
        states[replay][state] += 1
    for each in found:
        yield ReplayView(
            id=each.id,
            release=each.release,
            start=str(each.plan.get("start", "")),
            end=str(each.plan.get("end", "")),
            started_at=unix(each.started_at),
            ended_at=unix(each.ended_at),
            outcome=each.outcome,
            records=each.records,
            chunks=dict(states[each.id]),
            promoted_at=unix(each.promoted_at),
            note=each.note,
        )
