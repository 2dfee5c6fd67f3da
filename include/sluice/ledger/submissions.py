"""The releases that were submitted under a Flink job id, and whether Flink has confirmed a job with that id."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import select

from sluice.ledger.ledger import Ledger
from sluice.ledger.tables import JournalEntry, Operation, Placement


@dataclass(frozen=True)
class Submissions:
    """The submissions of a job under one Flink job id.

    Attributes:
        releases: The releases that were submitted under the id, or may have been.
        is_answered: The cluster has shown a job with this id since: further submissions under it are rejected.
    """

    releases: frozenset[int] = frozenset()
    is_answered: bool = True

    @property
    def is_shared(self) -> bool:
        """Whether several releases may be the one that runs, or wrote checkpoints, under the id."""
        return not self.is_answered and len(self.releases) > 1


def submissions(ledger: Ledger, place: Placement) -> Submissions:
    """The submissions under the placement's Flink job id, from the journal.

    Until Flink has shown a job with the id, a submission that timed out may still arrive. So the next start uses the
    same id: Flink admits one job per id.
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
