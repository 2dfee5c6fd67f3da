"""How a job is to be started: a decision from what the ledger and the cluster say. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sluice.errors import RefusedError
from sluice.flink.models import JobSummary
from sluice.release.tables import Running


@dataclass(frozen=True)
class Unchanged:
    """The release runs already."""

    flink_job_id: str


@dataclass(frozen=True)
class Attach:
    """This operation has submitted it before; it runs."""

    flink_job_id: str


@dataclass(frozen=True)
class Fresh:
    """Nothing of it ever ran: start without state."""


@dataclass(frozen=True)
class Recover:
    """It should run, and doesn't: start from what the lost job has left.

    Attributes:
        lost: What was to run.
        known: The cluster still remembers the lost job.
    """

    lost: Running
    known: bool


Decision = Unchanged | Attach | Fresh | Recover


def decide(
    job: str, release: int, running: Running | None, submitted: str | None, cluster: Iterable[JobSummary]
) -> Decision:
    """What to do so that exactly one job of this name runs.

    Args:
        job: The job's name.
        release: The release that is to run.
        running: What the ledger says should run.
        submitted: The Flink job id that this operation has journalled; None: it hasn't come so far.
        cluster: Every job that the cluster remembers.

    Raises:
        RefusedError: a job of this name runs that the ledger doesn't know, or another release runs.
    """
    by_id = {summary.id: summary for summary in cluster}
    alive = {summary.id for summary in by_id.values() if summary.name == job and not summary.state.is_terminal}
    ours = {running.flink_job_id} if running else set()
    if strangers := sorted(alive - ours):
        raise RefusedError(
            f"{job}: the cluster runs a job of this name that the ledger does not know: {', '.join(strangers)}",
            remedy="cancel it, or rename one of the two: a job must not run twice",
        )
    if running is None:
        return Fresh()
    if running.flink_job_id in alive:
        if running.flink_job_id == submitted:
            return Attach(running.flink_job_id)
        if running.release == release:
            return Unchanged(running.flink_job_id)
        raise RefusedError(
            f"{job}: release {running.release} runs, and release {release} differs from it; "
            "this version starts jobs, and does not change running ones",
            remedy=f"cancel Flink job {running.flink_job_id}; the next deploy starts release {release} from its "
            "newest retained checkpoint",
        )
    return Recover(running, running.flink_job_id in by_id)
