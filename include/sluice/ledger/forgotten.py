"""Jobs that were taken off the list: their releases, operations and savepoints stay in the ledger."""

from __future__ import annotations

from datetime import UTC, datetime

from sqlalchemy import update
from sqlalchemy.orm import Session, sessionmaker

from sluice.ledger.placement_version import PlacementVersion, check_placement_version
from sluice.ledger.tables import Placement


class Forgotten:
    """The jobs of one environment that were taken off the list.

    Args:
        sessions: The ledger's.
        environment: Whose jobs.
    """

    def __init__(self, sessions: sessionmaker[Session], environment: str) -> None:
        self._sessions = sessions
        self._environment = environment

    def add(self, place: Placement) -> None:
        """Take a job off the list as it was read; the next operation on it puts it back.

        Raises:
            ChangedError: an operation has changed the job since it was read.
        """
        with self._sessions.begin() as session:
            found = session.get(Placement, (self._environment, place.job))
            check_placement_version(place.job, PlacementVersion.of(place), PlacementVersion.of(found))
            # The moment may be that of the change itself: the clock of another machine decides nothing then.
            moment = max(datetime.now(UTC), place.since)
            session.execute(
                update(Placement)
                .where(
                    Placement.environment == self._environment,
                    Placement.job == place.job,
                    Placement.since == place.since,
                )
                .values(forgotten_at=moment)
            )
