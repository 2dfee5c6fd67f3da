"""What was submitted under a Flink job id, and whether Flink has ever answered for it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from sluice.ledger.ledger import Ledger
from sluice.ledger.tables import JournalEntry, Operation, Placement


@dataclass(frozen=True)
class Submissions:
    """The submissions of a job under one Flink job id.

    Attributes:
        releases: The releases that were submitted under it, or were about to be.
        is_answered: The cluster has shown a job of this id since: no submission can come up under it any more.
    """

    releases: frozenset[int] = frozenset()
    is_answered: bool = True

    @property
    def is_shared(self) -> bool:
        """What runs under the id, or has left checkpoints under it, may be any of several releases."""
        return not self.is_answered and len(self.releases) > 1


def submissions(ledger: Ledger, place: Placement) -> Submissions:
    """What the journal says of the Flink job id at a placement.

    While Flink has not answered for the id, a submission that was given up may still arrive. Whatever is started next
    takes the same id, since Flink admits one job of an id.
    """
    query = (
        select(JournalEntry.event, JournalEntry.data)
        .join(Operation, JournalEntry.operation == Operation.id)
        .where(Operation.environment == ledger.environment, Operation.job == place.job)
        .where(JournalEntry.stage == "start", JournalEntry.event.in_(("submit", "submitted")))
        .where(JournalEntry.data["flink_job_id"].as_string() == place.flink_job_id)
    )
    with ledger.reading() as session:
        entries = session.execute(query).all()
    releases = frozenset(int(data["release"]) for event, data in entries if event == "submit")
    is_shown = place.had_checkpoint or any(event == "submitted" for event, _ in entries)
    return Submissions(releases, is_shown or not releases)
