"""Find the release that wrote a savepoint or checkpoint."""

from __future__ import annotations

from sqlalchemy import select

from sluice.ledger.ledger import Ledger
from sluice.ledger.tables import JournalEntry, Operation


def origin(ledger: Ledger, job: str, path: str) -> int | None:
    """The release that wrote the savepoint or checkpoint at a path; None: the ledger doesn't know its Flink job.

    Flink writes a job's checkpoints into a directory named by the Flink job id.
    """
    of_savepoints = {savepoint.path: savepoint.release for savepoint in ledger.savepoints(job)}
    if path in of_savepoints:
        return of_savepoints[path]
    submitted = (
        select(JournalEntry.data)
        .join(Operation, JournalEntry.operation == Operation.id)
        .where(Operation.environment == ledger.environment, Operation.job == job)
        .where(JournalEntry.stage == "start", JournalEntry.event == "submit")
    )
    directories = path.split("/")
    with ledger.reading() as session:
        found = (data["release"] for data in session.scalars(submitted) if data["flink_job_id"] in directories)
        return next(found, None)
