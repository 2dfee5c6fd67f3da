"""Choose the savepoints to keep, and delete the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sluice.errors import FlinkError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.ledger.tables import Savepoint
from sluice.operation.started import Log
from sluice.project import Project

KEPT = 5
"""How many of a job's newest savepoints are always kept."""
_PAUSE = 0.1
"""Seconds between two requests for the result of a deletion."""
_TIMEOUT = 60.0


def superfluous(savepoints: Sequence[Savepoint], needed: Iterable[str | None], kept: int = KEPT) -> list[Savepoint]:
    """The savepoints that can be deleted. Pure.

    Args:
        savepoints: The job's savepoints, newest first.
        needed: Paths to keep whatever their age: the state that the job was restored from or will start from, and the
            newest savepoint of each release that a rollback can choose.
        kept: How many of the newest to keep.
    """
    there = [savepoint for savepoint in savepoints if savepoint.deleted_at is None]
    stay = set(needed)
    return [savepoint for savepoint in there[kept:] if savepoint.path not in stay]


def thin(project: Project, flink: FlinkClient, job: str, log: Log) -> None:
    """Delete a job's superfluous savepoints. Log a deletion that fails; the next operation tries it again.

    Called once the job's release is healthy, which is after its first checkpoint.
    """
    ledger = project.ledger
    place = ledger.placement(job)
    needed = {place.restored_from, place.state_path} if place else set()
    targets = [release.number for release in ledger.releases(job) if release.healthy_at is not None][:2]
    savepoints = ledger.savepoints(job)
    for target in targets:
        needed.add(next((savepoint.path for savepoint in savepoints if savepoint.release == target), None))
    for savepoint in superfluous(savepoints, needed):
        if problem := _delete(flink, savepoint.path):
            log(f"savepoint {savepoint.path} is not deleted yet: {problem}")
            continue
        ledger.savepoint_deleted(savepoint.id)
        log(f"deleted savepoint {savepoint.path}")


def _delete(flink: FlinkClient, path: str) -> str | None:
    """Delete a savepoint; why it is not deleted, or None."""
    deadline = flink.clock.monotonic() + _TIMEOUT
    try:
        trigger = flink.send(calls.dispose(path)).request_id
        while not (result := flink.send(calls.disposal_result(trigger))).status.is_done:
            if flink.clock.monotonic() > deadline:
                return f"the cluster has not deleted it within {_TIMEOUT:.0f} s"
            flink.clock.sleep(_PAUSE)
    except (FlinkError, UnreachableError) as error:
        return error.message
    return result.failure
