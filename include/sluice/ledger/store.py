"""Base class of the ledger's parts, each of which reads and writes the rows of one environment."""

from __future__ import annotations

from sqlalchemy.orm import Session, sessionmaker


class Store:
    """A part of the ledger.

    Args:
        sessions: The sessions of the ledger's database.
        environment: The name of the environment.
    """

    def __init__(self, sessions: sessionmaker[Session], environment: str) -> None:
        self._sessions = sessions
        self.environment = environment
