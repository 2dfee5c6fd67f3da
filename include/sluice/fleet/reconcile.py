"""Reconcile what the cluster shows with the ledger: moved placements, shared stalls, unmanaged jobs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sluice.fleet.rows import CHANGING, Found, JobStatus
from sluice.flink.models import JobSummary
from sluice.health.faults import fails_by_its_own
from sluice.job.duration import milliseconds
from sluice.job.limits import Health
from sluice.ledger.tables import Operation, Placement
from sluice.operation.holder import is_gone
from sluice.project import Project

IsGone = Callable[[str], bool]
_CHANGES_NOTHING = "savepoint"
"""The kind of operation that leaves the job as it is: what is wrong with it meanwhile is wrong."""


@dataclass(frozen=True)
class LedgerView:
    """What the ledger says at one moment.

    Attributes:
        places: By the job's name; of one that was never started there is none.
        holders: Who changes a job at that moment, by the job's name.
        replays: Flink job ids of replays, which are nobody's job.
    """

    places: Mapping[str, Placement] = field(default_factory=dict)
    holders: Mapping[str, str] = field(default_factory=dict)
    replays: frozenset[str] = frozenset()

    @property
    def flink_job_ids(self) -> frozenset[str]:
        """All that are the ledger's; one of a job that was taken off the list is nobody's."""
        listed = (place for place in self.places.values() if not place.is_forgotten)
        return self.replays | {place.flink_job_id for place in listed}


def holds(operation: Operation, now: datetime, gone: IsGone) -> bool:
    """Whether somebody may be at work on the job of an operation that has not ended: nobody who is known to be gone."""
    return operation.lease_until > now and not gone(operation.holder)


def read_ledger_view(project: Project, gone: IsGone = is_gone) -> LedgerView:
    """Read it; who holds a job is read first: an operation that ends in between has its job running already.

    Args:
        project: The project.
        gone: Whether a holder is known to have ended, so that its lease needn't be waited for.
    """
    ledger, now = project.ledger, datetime.now(UTC)
    holders = {
        operation.job: operation.holder
        for operation in ledger.all_active()
        if operation.kind != _CHANGES_NOTHING and holds(operation, now, gone)
    }
    return LedgerView(ledger.places(), holders, ledger.replays.running())


def moved(status: JobStatus, place: Placement | None) -> bool:
    """Whether a job stands elsewhere by now than it did when a row of it was begun."""
    if place is None:
        # Nothing of the ledger is ever taken away.
        return False
    return (status.phase, status.release, status.flink_job_id) != (place.phase, place.release, place.flink_job_id)


def reconcile(rows: Sequence[Found], before: LedgerView, after: LedgerView) -> list[Found]:
    """The rows, those of jobs that are being changed without what is only true in between.

    A job that was switched over since its row was begun is not what was looked at any more. One that somebody works on
    may be down, or fail, and that is seen to by whoever works on it.
    """
    return [_held(row, before, after) for row in rows]


def _held(row: Found, before: LedgerView, after: LedgerView) -> Found:
    status = row.status
    if status.state == "broken":
        return row
    place = after.places.get(status.job)
    holder = after.holders.get(status.job) or before.holders.get(status.job)
    if place is not None and moved(status, place):
        by = f", by {holder}" if holder else ""
        return Found(
            JobStatus(
                status.job,
                CHANGING,
                place.release,
                place.flink_job_id,
                reasons=(f"it was changed while it was looked at{by}",),
                overrides=status.overrides,
                phase=place.phase,
            )
        )
    if holder and status.verdict == "failed":
        reasons = (f"an operation goes on, by {holder}", *status.reasons)
        return replace(row, status=replace(status, state=CHANGING, verdict="unknown", reasons=reasons))
    return row


_LONGEST = 255
"""Of the names in the ledger's samples; Flink takes names of any length."""
_DIGITS = 8


def add_unmanaged_jobs(found: Sequence[Found], cluster: Iterable[JobSummary], *, is_whole: bool) -> list[Found]:
    """The rows, those of jobs that run twice marked, and a row for each job that isn't the ledger's.

    Args:
        found: The rows of the project's jobs.
        cluster: Every job that the cluster remembers.
        is_whole: The rows are all of the project's.
    """
    ours = {row.status.flink_job_id for row in found}
    names = {row.status.job for row in found}
    # What an operation has started, or is about to end, may run under the name of what it changes.
    changing = {row.status.job for row in found if row.status.state == CHANGING}
    others = [job for job in cluster if not job.state.is_terminal and job.id not in ours and job.name not in changing]
    alive = sorted((job.model_copy(update={"name": shortened(job.name)}) for job in others), key=lambda j: j.name)
    doubles: dict[str, list[str]] = {}
    for job in alive:
        doubles.setdefault(job.name, []).append(job.id)
    return [
        *(_marked(row, doubles.get(row.status.job, [])) for row in found),
        *(Found(_duplicate(job)) for job in alive if job.name in names),
        *(Found(_undeclared(job)) for job in alive if is_whole and job.name not in names),
    ]


def shortened(name: str) -> str:
    """A name as the ledger can keep it: of a longer one the beginning, and a digest that tells it from others."""
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{name[: _LONGEST - _DIGITS - 1]}~{digest}"


def _marked(row: Found, doubles: list[str]) -> Found:
    if not doubles:
        return row
    others = ", ".join(doubles)
    words = f"Flink job {others} runs under this name as well, and the ledger does not know it: cancel one of the two"
    if row.status.flink_job_id is None:
        words = f"Flink job {others} runs under this name, and the ledger does not know it: cancel it, or rename one"
    reasons = (words, *row.status.reasons)
    return replace(row, status=replace(row.status, verdict="failed", reasons=reasons, doubles=tuple(doubles)))


def _duplicate(job: JobSummary) -> JobStatus:
    words = "a job of this name is declared, and this is not the one that the ledger knows; it is left alone"
    return JobStatus(job.name, "duplicate", flink_job_id=job.id, reasons=(words,))


def _undeclared(job: JobSummary) -> JobStatus:
    words = f"nobody declares it: it has no file and no entry in the ledger, and is {job.state.value}; it is left alone"
    return JobStatus(job.name, "undeclared", flink_job_id=job.id, reasons=(words,))


def ignore_shared_stalls(judged: Iterable[tuple[Found, Health]]) -> list[Found]:
    """The rows; of those that stand still where others do as well, none does so by its own.

    Args:
        judged: Rows of jobs that share the brokers and the cluster, each with its job's limits.
    """
    rows = list(judged)
    still = [found.status.job for found, health in rows if _stands_still(found, health)]
    return [_ignored_stall(found, health, still) for found, health in rows]


def _stands_still(found: Found, health: Health) -> bool:
    return found.snapshot is not None and found.snapshot.reads_nothing_of_its_input(milliseconds(health.stall))


def _ignored_stall(found: Found, health: Health, still: list[str]) -> Found:
    status, snapshot = found.status, found.snapshot
    if len(still) < 2 or status.job not in still or not status.own_fault or snapshot is None:
        return found
    if fails_by_its_own(snapshot, health):
        return found
    words = f"{len(still)} jobs stand still at once, so that it may be what they share: the brokers, the cluster"
    return replace(found, status=replace(status, own_fault=False, reasons=(*status.reasons, words)))
