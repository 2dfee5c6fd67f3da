"""What the parts of the ledger have in common: each reads and writes rows of one environment."""

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
