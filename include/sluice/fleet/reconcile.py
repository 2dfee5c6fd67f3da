"""Reconcile Flink's answers with the ledger: changed placements, shared stalls, jobs that aren't managed."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sluice.fleet.rows import CHANGING, JobObservation, JobStatus
from sluice.flink.models import JobSummary
from sluice.health.faults import fails_by_own_fault
from sluice.health.verdict import VerdictState
from sluice.job.duration import milliseconds
from sluice.job.limits import Health
from sluice.ledger.tables import Operation, Placement
from sluice.operation.holder import is_gone
from sluice.project import Project

HolderEnded = Callable[[str], bool]
"""Whether an operation's holder, a process or an Airflow task, is known to have ended."""
_CHANGES_NOTHING = "savepoint"
"""The kind of operation that leaves the job as it is, so that a failure during it is a failure."""


@dataclass(frozen=True)
class LedgerView:
    """The ledger at one moment.

    Attributes:
        places: The placements, by the job's name.
        holders: The holders of operations in progress, by the job's name.
        replays: Flink job ids of running replays.
    """

    places: Mapping[str, Placement] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)
    replays: frozenset[str] = frozenset()

    @property
    def flink_job_ids(self) -> frozenset[str]:
        """The Flink job ids of all placements and replays, without those of forgotten jobs."""
        listed = (place for place in self.places.values() if not place.is_forgotten)
        return self.replays | {place.flink_job_id for place in listed}


def is_held(operation: Operation, now: datetime, has_ended: HolderEnded) -> bool:
    """Whether an operation that has not ended may still be in progress: its lease is valid and its holder may live."""
    return operation.lease_until > now and not has_ended(operation.holder)


def read_ledger_view(project: Project, has_ended: HolderEnded = is_gone) -> LedgerView:
    """Read the ledger. Holders are read before placements: an operation that ends in between has updated its placement.

    Args:
        project: The project.
        has_ended: Whether a holder is known to have ended, so that its lease needn't expire first.
    """
    ledger, now = project.ledger, project.clock.now()
    holders = {
        operation.job: operation.holder
        for operation in ledger.all_active()
        if operation.kind != _CHANGES_NOTHING and is_held(operation, now, has_ended)
    }
    return LedgerView(ledger.places(), holders, ledger.replays.running())


def placement_changed(status: JobStatus, place: Placement | None) -> bool:
    """Whether a job's placement has changed since its row was made."""
    if place is None:
        # Placements are never deleted, so the row is of a job without one.
        return False
    return (status.phase, status.release, status.flink_job_id) != (place.phase, place.release, place.flink_job_id)


def reconcile(rows: Sequence[JobObservation], before: LedgerView, after: LedgerView) -> list[JobObservation]:
    """The rows, without the passing states of jobs that an operation changes.

    A job whose placement has changed since its row was made was not read in its present state. A job that fails while
    an operation is in progress is left to that operation.
    """
    return [_reconcile_row(row, before, after) for row in rows]


def _reconcile_row(row: JobObservation, before: LedgerView, after: LedgerView) -> JobObservation:
    status = row.status
    if status.state == "broken":
        return row
    place = after.places.get(status.job)
    holder = after.holders.get(status.job) or before.holders.get(status.job)
    if place is not None and placement_changed(status, place):
        by = f" by an operation of {holder}" if holder else ""
        return JobObservation(
            JobStatus(
                status.job,
                CHANGING,
                place.release,
                place.flink_job_id,
                reasons=(f"its placement was changed during the sweep{by}",),
                overrides=status.overrides,
                phase=place.phase,
            )
        )
    if holder and status.verdict == VerdictState.FAILED:
        reasons = (f"an operation is in progress, held by {holder}", *status.reasons)
        return replace(row, status=replace(status, state=CHANGING, verdict=VerdictState.UNKNOWN, reasons=reasons))
    return row


_MAX_NAME = 255
"""Of a job's name in the ledger's samples; Flink has no limit."""
_DIGEST_LENGTH = 8


def add_unmanaged_jobs(
    found: Sequence[JobObservation], cluster: Iterable[JobSummary], *, is_whole: bool
) -> list[JobObservation]:
    """The rows, with duplicates marked, and a row for each running job that is not in the ledger.

    Args:
        found: The rows of the project's jobs.
        cluster: All jobs that Flink lists.
        is_whole: The rows include all jobs of the project.
    """
    ours = {row.status.flink_job_id for row in found}
    names = {row.status.job for row in found}
    # An operation in progress may have started a Flink job of that name, or be about to cancel one.
    changing = {row.status.job for row in found if row.status.state == CHANGING}
    others = [job for job in cluster if not job.state.is_terminal and job.id not in ours and job.name not in changing]
    alive = sorted((job.model_copy(update={"name": shorten_name(job.name)}) for job in others), key=lambda j: j.name)
    duplicates: dict[str, list[str]] = {}
    for job in alive:
        duplicates.setdefault(job.name, []).append(job.id)
    return [
        *(_with_duplicates(row, duplicates.get(row.status.job, [])) for row in found),
        *(JobObservation(_duplicate(job)) for job in alive if job.name in names),
        *(JobObservation(_undeclared(job)) for job in alive if is_whole and job.name not in names),
    ]


def shorten_name(name: str) -> str:
    """A name short enough for the ledger: a longer one is cut, and a digest keeps it unique."""
    if len(name) <= _MAX_NAME:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGEST_LENGTH]
    return f"{name[: _MAX_NAME - _DIGEST_LENGTH - 1]}~{digest}"


def _with_duplicates(row: JobObservation, duplicates: list[str]) -> JobObservation:
    if not duplicates:
        return row
    others = ", ".join(duplicates)
    words = f"Flink job {others} runs under this name too, and is not in the ledger: cancel one of the two"
    if row.status.flink_job_id is None:
        words = f"Flink job {others} runs under this name, and is not in the ledger: cancel it, or rename one"
    reasons = (words, *row.status.reasons)
    status = replace(row.status, verdict=VerdictState.FAILED, reasons=reasons, doubles=tuple(duplicates))
    return replace(row, status=status)


def _duplicate(job: JobSummary) -> JobStatus:
    words = "it has the name of a declared job, but is not the Flink job in the ledger; Sluice leaves it alone"
    return JobStatus(job.name, "duplicate", flink_job_id=job.id, reasons=(words,))


def _undeclared(job: JobSummary) -> JobStatus:
    words = f"no file declares it, and it is not in the ledger; it is {job.state.value}, and Sluice leaves it alone"
    return JobStatus(job.name, "undeclared", flink_job_id=job.id, reasons=(words,))


def ignore_shared_stalls(judged: Iterable[tuple[JobObservation, Health]]) -> list[JobObservation]:
    """The rows; if several jobs have stalled at once, none of them is blamed for it.

    Args:
        judged: Rows of jobs that share the brokers and the cluster, each with its job's limits.
    """
    rows = list(judged)
    stalled = [found.status.job for found, health in rows if _is_stalled(found, health)]
    return [_without_own_fault(found, health, stalled) for found, health in rows]


def _is_stalled(found: JobObservation, health: Health) -> bool:
    return found.snapshot is not None and found.snapshot.is_stalled(milliseconds(health.stall))


def _without_own_fault(found: JobObservation, health: Health, stalled: list[str]) -> JobObservation:
    status, snapshot = found.status, found.snapshot
    if len(stalled) < 2 or status.job not in stalled or not status.own_fault or snapshot is None:
        return found
    if fails_by_own_fault(snapshot, health):
        return found
    words = f"{len(stalled)} jobs have stalled at once, so the cause may be the brokers or the cluster that they share"
    return replace(found, status=replace(status, own_fault=False, reasons=(*status.reasons, words)))
