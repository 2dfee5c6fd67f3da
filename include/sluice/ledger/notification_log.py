"""What whoever listens was told of each job: news is what differs from it, whatever else has looked meanwhile."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from sqlalchemy import Select, String, select
from sqlalchemy.orm import Mapped, Session, mapped_column, sessionmaker

from sluice.ledger.tables import Base


class Notification(Base):
    """What one listener was told of one job last."""

    __tablename__ = "told"

    environment: Mapped[str] = mapped_column(String(63), primary_key=True)
    listener: Mapped[str] = mapped_column(String(100), primary_key=True)
    subject: Mapped[str] = mapped_column(String(20), primary_key=True)
    """verdict, report, approval or event time."""
    job: Mapped[str] = mapped_column(String(255), primary_key=True)
    """Its name; a job that nobody declares may have any."""
    value: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime]


class NotificationLog:
    """What was told of the jobs of one environment.

    Args:
        sessions: The ledger's.
        environment: Whose jobs.
    """

    def __init__(self, sessions: sessionmaker[Session], environment: str) -> None:
        self._sessions = sessions
        self.environment = environment

    def known(self, listener: str, subject: str) -> dict[str, str]:
        """What the listener knows of a subject, by the job's name."""
        with self._sessions() as session:
            return {told.job: told.value for told in session.scalars(self._of(listener, subject))}

    def keep(self, listener: str, subject: str, values: Mapping[str, str]) -> None:
        """Take down what the listener knows of a subject from now on; what is not among it is forgotten."""
        now = datetime.now(UTC)
        with self._sessions.begin() as session:
            known = {told.job: told for told in session.scalars(self._of(listener, subject))}
            for job, value in values.items():
                if job not in known:
                    key = {"environment": self.environment, "listener": listener, "subject": subject, "job": job}
                    session.add(Notification(**key, value=value, at=now))
                elif known[job].value != value:
                    known[job].value, known[job].at = value, now
            for job in known.keys() - values.keys():
                session.delete(known[job])

    def _of(self, listener: str, subject: str) -> Select[Notification]:
        return select(Notification).where(
            Notification.environment == self.environment,
            Notification.listener == listener,
            Notification.subject == subject,
        )
