"""Where a job is, from what the ledger and the cluster say. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sluice.errors import RefusedError
from sluice.flink.models import JobState, JobSummary
from sluice.ledger.tables import Placement


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
        is_shared: Several releases were submitted under its id without an answer: what it has left may be another's.
    """

    place: Placement
    is_known: bool
    is_shared: bool = False


Situation = Absent | Runs | Stopping | Stopped | Suspended | Lost


def locate(job: str, place: Placement | None, cluster: Iterable[JobSummary], *, is_answered: bool = True) -> Situation:
    """Where the job is.

    Args:
        job: The job's name.
        place: What the ledger says.
        cluster: Every job that the cluster remembers.
        is_answered: Flink has answered for the submission of the job that the ledger knows. Otherwise one that was
            given up may have come up after the ledger has it as stopped: the next start ends it first.

    Raises:
        RefusedError: a job of this name runs that the ledger does not know, or that it has as stopped or suspended.
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
    if place.phase in ("stopped", "suspended") and place.flink_job_id in alive and is_answered:
        raise _runs_after_its_stop(place, by_id[place.flink_job_id].state)
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


def _runs_after_its_stop(place: Placement, state: JobState) -> RefusedError:
    begins = f"from {place.state_path}" if place.state_path else "without state"
    return RefusedError(
        f"{place.job}: the ledger has it as {place.phase} since {place.since:%Y-%m-%d %H:%M} UTC, and its Flink job "
        f"{place.flink_job_id} is {state.value} on the cluster",
        remedy=f"cancel Flink job {place.flink_job_id} in the Flink UI, and ask again: {place.job} is then started "
        f"{begins}, and what was written since that is written again",
    )
