"""Base class of the ledger's parts, each of which reads and writes the rows of one environment."""

from __future__ import annotations

from sqlalchemy.orm import Session, sessionmaker

from sluice.clock import Clock


class Store:
    """A part of the ledger.

    Args:
        sessions: The sessions of the ledger's database.
        environment: The name of the environment.
        clock: The clock of its times.
    """

    def __init__(self, sessions: sessionmaker[Session], environment: str, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock
        self.environment = environment
