"""The newest state that a lost job has left."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from typing import TypeVar

from sluice.compiler import Compiler
from sluice.errors import OperationError, RefusedError, StateError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.ledger.submissions import submissions
from sluice.ledger.tables import Placement
from sluice.project import Project
from sluice.state.after_stop import GIVE_UP
from sluice.state.directories import Directories, directories_at
from sluice.state.situation import Lost

T = TypeVar("T")
_LOOKS = 3


def retry_checkpoint_read(look: Callable[[], T]) -> T:
    """Look at the checkpoints of a job that runs, some times over: one may give way to a newer one while it is read.

    Raises:
        OperationError, RefusedError: what the last look has raised.
    """
    for _ in range(_LOOKS - 1):
        with contextlib.suppress(OperationError, RefusedError):
            return look()
    return look()


def newest_state(flink: FlinkClient, compiler: Compiler, directories: Directories, lost: Lost) -> str | None:
    """The path to restore from; None: the lost job never had any state.

    Its checkpoint directory is listed; then the cluster is asked, while it remembers the job. What the lost job was
    itself restored from counts only if it has made no checkpoint of its own.

    Raises:
        RefusedError: it had a checkpoint, and none is found: starting it from anything older would lose state.
    """
    place = lost.place
    if lost.is_shared:
        # Flink has not said which of them came up.
        return place.restored_from
    directory = directories.checkpoints(place.flink_job_id)
    if directory is not None:
        try:
            found = compiler.find(directory)
        except StateError as error:
            raise RefusedError(
                f"{place.job}: the checkpoints of Flink job {place.flink_job_id} can't be looked at: {error.message}",
                remedy=f"make {directory} readable from here; {GIVE_UP}",
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
    """The newest state that the job at a place has left, or would leave; see `newest_state`."""
    lost = Lost(place, is_known=False, is_shared=submissions(project.ledger, place).is_shared)
    return newest_state(flink, compiler, directories_at(project, flink, place), lost)


def _remembered(flink: FlinkClient, compiler: Compiler, flink_job_id: str) -> str | None:
    """The newest checkpoint that the cluster tells of, if it is still there."""
    completed = flink.send(calls.checkpoints(flink_job_id)).latest.completed
    if completed is None or completed.external_path is None:
        return None
    try:
        compiler.inspect(completed.external_path)
    except StateError:
        return None
    return completed.external_path
