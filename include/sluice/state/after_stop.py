"""The state of a job after Sluice has stopped it."""

from __future__ import annotations

from sluice.errors import StateError
from sluice.ledger.tables import Placement
from sluice.ledger.values import StopMode
from sluice.release.compiler import Compiler
from sluice.state.directories import Directories

GIVE_UP = "a deploy with mode stateless abandons the state, and needs an approval (and --wake if the job is suspended)"
"""The last resort if a job's state is lost."""


def takes_savepoint(place: Placement) -> bool:
    """Whether the planned stop of a job in phase `stopping` takes a savepoint."""
    return place.stop_mode not in (StopMode.LAST_STATE, StopMode.CANCEL)


def savepoint_directory(directories: Directories, environment: str, place: Placement) -> str | None:
    """The directory of this stop's savepoint, which contains nothing else. None: it takes none."""
    if not takes_savepoint(place):
        return None
    return place.savepoint_directory or directories.savepoints(environment, place.job, place.trigger_id or "")


def is_savepoint(place: Placement, path: str | None) -> bool:
    """Whether the path is the savepoint of this stop; a job that fails before it is complete has none."""
    return path is not None and takes_savepoint(place) and f"/{place.trigger_id}/" in path


def state_after_stop(compiler: Compiler, directories: Directories, environment: str, place: Placement) -> str | None:
    """The newest state of the ended job: this stop's savepoint, or a checkpoint; None: it had no state.

    Args:
        compiler: Finds the newest checkpoint or savepoint in directories.
        directories: Those of its checkpoints and savepoints.
        environment: The environment of the job.
        place: The job's placement, in phase `stopping`; its Flink job has ended.

    Raises:
        StateError: the job had a checkpoint, and none is found; or the state can't be read.
    """
    if place.stop_mode == StopMode.CANCEL:
        return place.state_path
    candidates = [savepoint_directory(directories, environment, place), directories.checkpoints(place.flink_job_id)]
    found = compiler.find(*(directory for directory in candidates if directory))
    if found.path is not None:
        return found.path
    if place.had_checkpoint:
        raise StateError(
            f"{place.job}: Flink job {place.flink_job_id} has ended, and no state of it is found in "
            f"{' or '.join(directory for directory in candidates if directory)}",
            remedy=f"bring the directory back; starting without it would lose the job's state: {GIVE_UP}",
        )
    return place.restored_from
