"""Which release has written a savepoint or checkpoint."""

from __future__ import annotations

from sqlalchemy import select

from sluice.ledger.ledger import Ledger
from sluice.ledger.tables import JournalEntry, Operation


def origin(ledger: Ledger, job: str, path: str) -> int | None:
    """The release whose state lies at a path; None: it is of no Flink job that the ledger knows.

    Flink keeps a job's checkpoints in a directory that is named by the job's id.
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
