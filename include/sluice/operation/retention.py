"""Which savepoints are kept, and the deletion of the rest."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence

from sluice.errors import FlinkError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.ledger.tables import Savepoint
from sluice.operation.switch_over import Tell
from sluice.project import Project

KEPT = 5
"""How many of a job's newest savepoints stay, whatever else is kept."""
_PAUSE = 0.2
"""Seconds between two looks at a deletion."""
_PATIENCE = 60.0


def superfluous(savepoints: Sequence[Savepoint], needed: Iterable[str | None], kept: int = KEPT) -> list[Savepoint]:
    """The savepoints that nobody needs any more. Pure.

    Args:
        savepoints: A job's, newest first.
        needed: Paths that stay whatever their age: what the job runs from or is to be started from, and the newest
            savepoint of each release that is still a target of a rollback.
        kept: How many of the newest stay.
    """
    there = [savepoint for savepoint in savepoints if savepoint.deleted_at is None]
    stay = set(needed)
    return [savepoint for savepoint in there[kept:] if savepoint.path not in stay]


def thin(project: Project, flink: FlinkClient, job: str, tell: Tell) -> None:
    """Delete a job's superfluous savepoints. A deletion that fails is told, and tried again by the next operation.

    Called when the job's release is healthy, so after its first checkpoint.
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
            tell(f"savepoint {savepoint.path} is not deleted yet: {problem}")
            continue
        ledger.savepoint_deleted(savepoint.id)
        tell(f"deleted savepoint {savepoint.path}")


def _delete(flink: FlinkClient, path: str) -> str | None:
    """Why it is not deleted; None: it is."""
    deadline = time.monotonic() + _PATIENCE
    try:
        trigger = flink.send(calls.dispose(path)).request_id
        while not (result := flink.send(calls.disposal_result(trigger))).status.is_done:
            if time.monotonic() > deadline:
                return f"the cluster has been at it for {_PATIENCE:.0f} s"
            time.sleep(_PAUSE)
    except (FlinkError, UnreachableError) as error:
        return error.message
    return result.failure
