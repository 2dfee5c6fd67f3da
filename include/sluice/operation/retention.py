"""Which savepoints are kept, and the deletion of the rest."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from sluice.errors import FlinkError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.operation.switch_over import Tell
from sluice.project import Project
from sluice.release.tables import Savepoint

KEPT = 5
"""How many of a job's newest savepoints stay, whatever else is kept."""


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
        try:
            flink.send(calls.dispose(savepoint.path))
        except (FlinkError, UnreachableError) as error:
            tell(f"savepoint {savepoint.path} is not deleted yet: {error.message}")
            continue
        ledger.savepoint_deleted(savepoint.id)
        tell(f"deleted savepoint {savepoint.path}")
