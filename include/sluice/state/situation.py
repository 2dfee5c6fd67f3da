"""The situation of a job, from the ledger and the cluster. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from sluice.errors import RefusedError
from sluice.flink.models import JobState, JobSummary
from sluice.ledger.tables import Placement
from sluice.ledger.values import Phase, StopMode


@dataclass(frozen=True)
class Absent:
    """The job was never started."""


@dataclass(frozen=True)
class Runs:
    """The job is running, as the ledger has it.

    Attributes:
        is_whole: All of its tasks are running, and it isn't failing: otherwise it can't write a savepoint.
    """

    place: Placement
    is_whole: bool = True


@dataclass(frozen=True)
class Stopping:
    """Sluice has begun to stop the job, and the ledger doesn't have its end yet."""

    place: Placement
    is_alive: bool

    @property
    def suspends(self) -> bool:
        """Whether the job is being suspended: nothing is started afterwards."""
        return self.place.phase == Phase.SUSPENDING


@dataclass(frozen=True)
class Stopped:
    """The job was stopped, and the ledger has the state for its next start."""

    place: Placement


@dataclass(frozen=True)
class Suspended:
    """The job was suspended by request."""

    place: Placement


@dataclass(frozen=True)
class Lost:
    """The job should be running, and isn't.

    Attributes:
        is_known: The cluster still shows the ended job.
        is_shared: Several releases were submitted under its id without an answer: its state may be another release's.
    """

    place: Placement
    is_known: bool
    is_shared: bool = False


Situation = Absent | Runs | Stopping | Stopped | Suspended | Lost


def locate(job: str, place: Placement | None, cluster: Iterable[JobSummary], *, is_answered: bool = True) -> Situation:
    """Determine the situation of the job.

    Args:
        job: The job's name.
        place: The job's placement in the ledger.
        cluster: Every job that the cluster shows.
        is_answered: Flink has answered the submission of the placed job. Otherwise a submission without an answer may
            have started after the ledger has the job as stopped: the next start cancels that one first.

    Raises:
        RefusedError: a job of this name runs that the ledger does not know, or has as stopped or suspended.
    """
    by_id = {summary.id: summary for summary in cluster}
    alive = {summary.id for summary in by_id.values() if summary.name == job and not summary.state.is_terminal}
    ours = {place.flink_job_id} if place else set()
    if strangers := sorted(alive - ours):
        raise RefusedError(
            f"{job}: the cluster runs a job of this name that the ledger does not know: {', '.join(strangers)}",
            remedy="cancel what Sluice did not start, or give the job another name: a job must not run twice",
        )
    if place is None:
        return Absent()
    if place.phase in (Phase.STOPPED, Phase.SUSPENDED) and place.flink_job_id in alive and is_answered:
        raise _runs_after_its_stop(place, by_id[place.flink_job_id].state)
    match place.phase:
        case Phase.STOPPING | Phase.SUSPENDING:
            return Stopping(place, place.flink_job_id in alive)
        case Phase.STOPPED:
            return Stopped(place)
        case Phase.SUSPENDED:
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
        remedy=f"cancel Flink job {place.flink_job_id} in the Flink UI, and try again: {place.job} is then started "
        f"{begins}, and rows that were written since that are written again",
    )


def may_hold_state(situation: Situation) -> bool:
    """Whether a job without a checkpoint may have state, which a savepoint at its stop would hold."""
    match situation:
        case Runs(_, is_whole):
            return is_whole
        case Stopping(place, is_alive):
            return is_alive and place.stop_mode != StopMode.CANCEL
    return False
