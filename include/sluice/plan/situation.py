"""Where a job is, from what the ledger and the cluster say. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sluice.errors import RefusedError
from sluice.flink.models import JobState, JobSummary
from sluice.release.tables import Placement


@dataclass(frozen=True)
class Absent:
    """Nothing of it was ever started."""


@dataclass(frozen=True)
class Runs:
    """It runs as the ledger says.

    Attributes:
        is_whole: All of its tasks run, and it does not fail: otherwise it can't write a savepoint.
    """

    place: Placement
    is_whole: bool = True


@dataclass(frozen=True)
class Stopping:
    """It was told to stop, and nobody has seen the end of that."""

    place: Placement
    is_alive: bool

    @property
    def suspends(self) -> bool:
        """On purpose: nothing is to be started afterwards."""
        return self.place.phase == "suspending"


@dataclass(frozen=True)
class Stopped:
    """It was stopped, with state to be started from."""

    place: Placement


@dataclass(frozen=True)
class Suspended:
    """It was stopped on purpose."""

    place: Placement


@dataclass(frozen=True)
class Lost:
    """It should run, and doesn't.

    Attributes:
        is_known: The cluster still remembers it.
    """

    place: Placement
    is_known: bool


Situation = Absent | Runs | Stopping | Stopped | Suspended | Lost


def locate(job: str, place: Placement | None, cluster: Iterable[JobSummary]) -> Situation:
    """Where the job is.

    Args:
        job: The job's name.
        place: What the ledger says.
        cluster: Every job that the cluster remembers.

    Raises:
        RefusedError: a job of this name runs that the ledger does not know.
    """
    by_id = {summary.id: summary for summary in cluster}
    alive = {summary.id for summary in by_id.values() if summary.name == job and not summary.state.is_terminal}
    ours = {place.flink_job_id} if place else set()
    if strangers := sorted(alive - ours):
        raise RefusedError(
            f"{job}: the cluster runs a job of this name that the ledger does not know: {', '.join(strangers)}",
            remedy="cancel it, or rename one of the two: a job must not run twice",
        )
    if place is None:
        return Absent()
    match place.phase:
        case "stopping" | "suspending":
            return Stopping(place, place.flink_job_id in alive)
        case "stopped":
            return Stopped(place)
        case "suspended":
            return Suspended(place)
    if place.flink_job_id in alive:
        summary = by_id[place.flink_job_id]
        return Runs(place, summary.state is JobState.RUNNING and summary.tasks.are_up)
    return Lost(place, place.flink_job_id in by_id)
