"""The newest state of a lost job."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from sluice.errors import OperationError, RefusedError, StateError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.ledger.submissions import submissions
from sluice.ledger.tables import Placement
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.state.after_stop import GIVE_UP
from sluice.state.directories import Directories, directories_at
from sluice.state.situation import Lost

T = TypeVar("T")
_READS = 3


def retry_checkpoint_read(read: Callable[[], T]) -> T:
    """Read a running job's checkpoints, again if that fails: Flink may delete a checkpoint while it is read.

    Raises:
        OperationError, RefusedError: the error of the last attempt.
    """
    for _ in range(_READS - 1):
        with contextlib.suppress(OperationError, RefusedError):
            return read()
    return read()


def newest_state(flink: FlinkClient, compiler: Compiler, directories: Directories, lost: Lost) -> str | None:
    """The path to restore from; None: the lost job never had any state.

    Reads its checkpoint directory, then the cluster's list of its checkpoints if the cluster still has the job. The
    path that the job was itself restored from is used only if it has made no checkpoint of its own.

    Raises:
        RefusedError: it had a checkpoint, and none is found: a start from anything older would lose state.
    """
    place = lost.place
    if lost.is_shared:
        # It isn't known which of the submissions ran.
        return place.restored_from
    directory = directories.checkpoints(place.flink_job_id)
    if directory is not None:
        try:
            found = compiler.find(directory)
        except StateError as error:
            raise RefusedError(
                f"{place.job}: the checkpoints of Flink job {place.flink_job_id} can't be read: {error.message}",
                remedy=f"make {directory} readable on this machine; {GIVE_UP}",
            ) from error
        if found.path is not None:
            return found.path
    if lost.is_known and (path := _remembered(flink, compiler, place.flink_job_id)):
        return path
    if place.had_checkpoint:
        raise RefusedError(
            f"{place.job}: Flink job {place.flink_job_id} had state, and no checkpoint of it is found in "
            f"{directory or 'execution.checkpointing.dir, which is not set'}",
            remedy=f"bring the checkpoint directory back; starting without it would lose the job's state: {GIVE_UP}",
        )
    return place.restored_from


def state_at_placement(project: Project, flink: FlinkClient, compiler: Compiler, place: Placement) -> str | None:
    """The newest state of the job at a placement, as if it were lost; see `newest_state`."""
    lost = Lost(place, is_known=False, is_shared=submissions(project.ledger, place).is_shared)
    return newest_state(flink, compiler, directories_at(project, flink, place), lost)


def _remembered(flink: FlinkClient, compiler: Compiler, flink_job_id: str) -> str | None:
    """The newest checkpoint in the cluster's list, if its files still exist."""
    completed = flink.send(calls.checkpoints(flink_job_id)).latest.completed
    if completed is None or completed.external_path is None:
        return None
    try:
        compiler.inspect(completed.external_path)
    except StateError:
        return None
    return completed.external_path
