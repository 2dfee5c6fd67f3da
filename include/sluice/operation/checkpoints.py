"""The newest checkpoint that a lost job has left."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlsplit

from sluice.errors import RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.operation.start import Recover

_DIRECTORY = "execution.checkpointing.dir"


def newest_state(flink: FlinkClient, recover: Recover) -> str | None:
    """The path to restore from; None: the lost job never had any state.

    Asked in this order: the cluster, while it remembers the job; its checkpoint directory; what the lost job was
    itself restored from, when it has made no checkpoint of its own.

    Raises:
        RefusedError: it had a checkpoint, and none is found: starting it would lose its state.
    """
    lost = recover.lost
    if recover.known:
        completed = flink.send(calls.checkpoints(lost.flink_job_id)).latest.completed
        if completed and completed.external_path and _is_there(completed.external_path):
            return completed.external_path
    options = {entry.key: entry.value for entry in flink.send(calls.cluster_config())}
    directory = options.get(_DIRECTORY) or options.get("state.checkpoints.dir")
    if directory and (path := _local(directory)) is not None:
        found = _newest(path / lost.flink_job_id)
        if found is not None:
            return found
    if lost.restored_from is not None and _is_there(lost.restored_from):
        return lost.restored_from
    if lost.had_checkpoint:
        raise RefusedError(
            f"{lost.job}: Flink job {lost.flink_job_id} had state, and no checkpoint of it is found in "
            f"{directory or f'{_DIRECTORY}, which is not set'}",
            remedy="bring the checkpoint directory back; starting without it would lose the job's state",
        )
    return None


def _newest(directory: Path) -> str | None:
    complete = [file.parent for file in directory.glob("chk-*/_metadata")]
    if not complete:
        return None
    newest = max(complete, key=lambda path: int(path.name.removeprefix("chk-")))
    return newest.as_uri().replace("file:///", "file:/")


def _local(uri: str) -> Path | None:
    """The path of a file URI; None for another file system, which can't be listed from here."""
    parts = urlsplit(uri)
    return Path(parts.path) if parts.scheme in ("", "file") else None


def _is_there(uri: str) -> bool:
    path = _local(uri)
    return path is None or (path / "_metadata").exists()
