"""The last notification per notifier, subject and job. Only changes against it are sent."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from sqlalchemy import Select, String, select
from sqlalchemy.orm import Mapped, mapped_column

from sluice.ledger.store import Store
from sluice.ledger.tables import Base


class Notification(Base):
    """The last value that a notifier got for a job."""

    __tablename__ = "told"

    environment: Mapped[str] = mapped_column(String(63), primary_key=True)
    listener: Mapped[str] = mapped_column(String(100), primary_key=True)
    subject: Mapped[str] = mapped_column(String(20), primary_key=True)
    """verdict, report, approval or event time."""
    job: Mapped[str] = mapped_column(String(255), primary_key=True)
    """The job's name; a job that the project doesn't declare may have any name."""
    value: Mapped[str] = mapped_column(String(255))
    at: Mapped[datetime]


class NotificationLog(Store):
    """The last notifications of one environment."""

    def known(self, listener: str, subject: str) -> dict[str, str]:
        """The last values that the notifier got for a subject, by the job's name."""
        with self._sessions() as session:
            return {sent.job: sent.value for sent in session.scalars(self._of(listener, subject))}

    def keep(self, listener: str, subject: str, values: Mapping[str, str]) -> None:
        """Replace the last values of the notifier for a subject; jobs that are not in `values` are deleted."""
        now = self._clock.now()
        with self._sessions.begin() as session:
            known = {sent.job: sent for sent in session.scalars(self._of(listener, subject))}
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
