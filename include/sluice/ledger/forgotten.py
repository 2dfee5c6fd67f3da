"""Forgotten jobs: they are no longer listed, but their releases, operations and savepoints stay in the ledger."""

from __future__ import annotations

from sqlalchemy import update

from sluice.ledger.placement_version import PlacementVersion, check_placement_version
from sluice.ledger.store import Store
from sluice.ledger.tables import Placement


class Forgotten(Store):
    """The forgotten jobs of one environment."""

    def add(self, place: Placement) -> None:
        """Forget a job; the next operation on it lists it again.

        Raises:
            ChangedError: an operation has changed the placement since it was read.
        """
        with self._sessions.begin() as session:
            found = session.get(Placement, (self.environment, place.job))
            check_placement_version(place.job, PlacementVersion.of(place), PlacementVersion.of(found))
            # Not before the placement's last change, whose time may come from another machine's clock.
            moment = max(self._clock.now(), place.since)
            session.execute(
                update(Placement)
                .where(
                    Placement.environment == self.environment,
                    Placement.job == place.job,
                    Placement.since == place.since,
                )
                .values(forgotten_at=moment)
            )
