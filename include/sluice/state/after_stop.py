"""What a job leaves that was told to stop."""

from __future__ import annotations

from sluice.compiler import Compiler
from sluice.errors import StateError
from sluice.ledger.tables import Placement
from sluice.state.directories import Directories

GIVE_UP = "a deploy with mode stateless gives that up, and needs an approval (and --wake, of a job that is to be down)"
"""The last resort where what a job has left is gone."""


def takes_savepoint(place: Placement) -> bool:
    """Whether a job in phase `stopping` leaves a savepoint of its own, where it stops as planned."""
    return place.stop_mode not in ("last-state", "cancel")


def savepoint_directory(directories: Directories, environment: str, place: Placement) -> str | None:
    """The directory of this stop's savepoint: nothing else lies in it. None: it takes none."""
    if not takes_savepoint(place):
        return None
    return place.savepoint_directory or directories.savepoints(environment, place.job, place.trigger_id or "")


def is_savepoint(place: Placement, path: str | None) -> bool:
    """Whether what a stop has left is its own savepoint: a job that dies before that is complete leaves none."""
    return path is not None and takes_savepoint(place) and f"/{place.trigger_id}/" in path


def state_after_stop(compiler: Compiler, directories: Directories, environment: str, place: Placement) -> str | None:
    """The newest of what the ended job has left: this stop's savepoint, or a checkpoint; None: it had no state.

    Args:
        compiler: Looks into directories.
        directories: Where its checkpoints and savepoints lie.
        environment: Whose job it is.
        place: In phase `stopping`; the job has ended.

    Raises:
        StateError: it had a checkpoint, and nothing is found; or what is there can't be read.
    """
    if place.stop_mode == "cancel":
        return place.state_path
    candidates = [savepoint_directory(directories, environment, place), directories.checkpoints(place.flink_job_id)]
    found = compiler.find(*(directory for directory in candidates if directory))
    if found.path is not None:
        return found.path
    if place.had_checkpoint:
        raise StateError(
            f"{place.job}: Flink job {place.flink_job_id} has ended, and nothing it left is found in "
            f"{' or '.join(directory for directory in candidates if directory)}",
            remedy=f"bring the directory back; starting without it would lose the job's state: {GIVE_UP}",
        )
    return place.restored_from
