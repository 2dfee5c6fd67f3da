"""Where the jobs stand by the ledger: read before the cluster is asked and once it has answered, and held together."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime

from sluice.fleet.rows import CHANGING, Found, JobStatus
from sluice.ledger.tables import Operation, Placement
from sluice.operation.holder import is_gone
from sluice.project import Project

IsGone = Callable[[str], bool]
_CHANGES_NOTHING = "savepoint"
"""The kind of operation that leaves the job as it is: what is wrong with it meanwhile is wrong."""


@dataclass(frozen=True)
class Standing:
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


def read_standing(project: Project, gone: IsGone = is_gone) -> Standing:
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
    return Standing(ledger.places(), holders, ledger.replays.running())


def moved(status: JobStatus, place: Placement | None) -> bool:
    """Whether a job stands elsewhere by now than it did when a row of it was begun."""
    if place is None:
        # Nothing of the ledger is ever taken away.
        return False
    return (status.phase, status.release, status.flink_job_id) != (place.phase, place.release, place.flink_job_id)


def hold_together(rows: Sequence[Found], before: Standing, after: Standing) -> list[Found]:
    """The rows, those of jobs that are being changed without what is only true in between.

    A job that was switched over since its row was begun is not what was looked at any more. One that somebody works on
    may be down, or fail, and that is seen to by whoever works on it.
    """
    return [_held(row, before, after) for row in rows]


def _held(row: Found, before: Standing, after: Standing) -> Found:
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
