"""Plans that a person is asked about: who is asked by which run, since when, and what the answer was."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import Select, String, UniqueConstraint, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, Session, mapped_column, sessionmaker

from sluice.errors import BusyError
from sluice.ledger.tables import Base

Answer = Literal["approved", "rejected", "timed_out", "withdrawn"]
"""approved, rejected: by whom it says. timed_out: nobody answered in time. withdrawn: the run that asked is gone, or
has another plan by now."""


class AskedApproval(Base):
    """A plan that a person was asked about."""

    __tablename__ = "approvals"
    __table_args__ = (UniqueConstraint("environment", "waiting_job"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(63), index=True)
    waiting_job: Mapped[str | None] = mapped_column(String(63))
    """The job while the answer is waited for, None afterwards: so one plan of a job waits at a time."""
    asker: Mapped[str] = mapped_column(String(500))
    """The run that waits, as the holder of an operation."""
    fingerprint: Mapped[str] = mapped_column(String(64))
    """Of the plan's target."""
    plan: Mapped[dict[str, Any]]
    why: Mapped[str] = mapped_column(String(4000))
    """Why it needs an approval."""
    link: Mapped[str | None] = mapped_column(String(2000))
    """Where it is answered."""
    asked_at: Mapped[datetime]
    until: Mapped[datetime]
    """When it is refused without an answer."""
    answer: Mapped[str | None] = mapped_column(String(20))
    """See `Answer`; None: it waits."""
    answered_by: Mapped[str | None] = mapped_column(String(500))
    answered_at: Mapped[datetime | None]

    @property
    def words(self) -> str:
        """How it stands, for a person."""
        asked = f"asked at {self.asked_at:%Y-%m-%d %H:%M} UTC"
        match self.answer:
            case None:
                return f"it waits for an answer until {self.until:%Y-%m-%d %H:%M} UTC: {self.link or self.asker}"
            case "timed_out":
                return f"{asked}, and nobody answered"
            case "withdrawn":
                return f"{asked} by a run that is gone, or has another plan by now"
            case answer:
                return f"{answer} by {self.answered_by} at {self.answered_at:%Y-%m-%d %H:%M} UTC"


class Approvals:
    """The plans of one environment's jobs that people were asked about.

    Args:
        sessions: The ledger's.
        environment: Whose jobs.
    """

    def __init__(self, sessions: sessionmaker[Session], environment: str) -> None:
        self._sessions = sessions
        self.environment = environment

    def ask(
        self,
        asker: str,
        plan: Mapping[str, Any],
        why: str,
        *,
        until: datetime,
        link: str | None = None,
        is_gone: Callable[[str], bool] = lambda _asker: False,
    ) -> AskedApproval:
        """Take down that a plan waits for an answer; once per asker, who may come again: the newest one counts.

        Args:
            asker: The run that waits.
            plan: The plan, as JSON values.
            why: Why it needs an approval.
            until: When it is refused without an answer.
            link: Where it is answered.
            is_gone: Whether another asker is known to have ended: nobody waits for that answer any more.

        Raises:
            BusyError: another plan of the job waits for its answer.
        """
        asked = (asker, plan, why, until, link, is_gone)
        try:
            return self._ask(*asked)
        except IntegrityError:
            # Another run was faster by a moment; now it is seen.
            return self._ask(*asked)

    def _ask(
        self,
        asker: str,
        plan: Mapping[str, Any],
        why: str,
        until: datetime,
        link: str | None,
        is_gone: Callable[[str], bool],
    ) -> AskedApproval:
        job, now = plan["job"], _now()
        with self._sessions.begin() as session:
            waiting = session.scalars(self._of(job).where(AskedApproval.waiting_job == job).with_for_update()).first()
            _refuse(waiting, asker, is_gone)
            if waiting is not None and waiting.asker != asker:
                waiting.waiting_job, waiting.answer, waiting.answered_at = None, "withdrawn", now
                session.flush()
                waiting = None
            if waiting is None:
                waiting = AskedApproval(
                    environment=self.environment, job=job, waiting_job=job, asker=asker, asked_at=now, answer=None
                )
                session.add(waiting)
            waiting.fingerprint, waiting.plan = plan["fingerprint"], dict(plan)
            waiting.why, waiting.until, waiting.link = why[:4000], until, link
            session.flush()
            return waiting

    def refuse_another(self, job: str, asker: str, is_gone: Callable[[str], bool]) -> None:
        """Raise what `ask` would.

        Raises:
            BusyError: another plan of the job waits for its answer.
        """
        with self._sessions() as session:
            waiting = session.scalars(self._of(job).where(AskedApproval.waiting_job == job)).first()
        _refuse(waiting, asker, is_gone)

    def answer(self, job: str, asker: str, answer: Answer, by: str | None = None, at: datetime | None = None) -> None:
        """Take down the answer to what this run has asked; another answer than the first one changes nothing.

        Args:
            job: The job's name.
            asker: The run that waited.
            answer: The answer.
            by: Who gave it; None: nobody did.
            at: When; None: now.
        """
        with self._sessions.begin() as session:
            waiting = self._of(job).where(AskedApproval.waiting_job == job, AskedApproval.asker == asker)
            found = session.scalars(waiting.with_for_update()).first()
            if found is not None:
                found.waiting_job, found.answer = None, answer
                found.answered_by, found.answered_at = by, at or _now()

    def of(self, job: str, limit: int = 20) -> list[AskedApproval]:
        """The plans of a job that people were asked about, newest first."""
        with self._sessions() as session:
            return list(session.scalars(self._of(job).limit(limit)))

    def about(self, plan: Mapping[str, Any]) -> AskedApproval | None:
        """The newest question about what this plan does, unless it was withdrawn; None: there is none.

        Of the job's newest plan of this kind, that is: the same target in the place of the same release.

        Args:
            plan: The plan, as JSON values.
        """
        with self._sessions() as session:
            asked = session.scalars(self._of(plan["job"]))
            found = next((each for each in asked if each.plan["kind"] == plan["kind"]), None)
        if found is None or found.answer == "withdrawn":
            return None
        return found if all(found.plan[name] == plan[name] for name in ("fingerprint", "former_release")) else None

    def given(self, job: str, asker: str) -> AskedApproval | None:
        """What this run has asked last, if it was approved; None: it wasn't."""
        query = self._of(job).where(AskedApproval.asker == asker)
        with self._sessions() as session:
            found = session.scalars(query.limit(1)).first()
        return found if found is not None and found.answer == "approved" else None

    def _of(self, job: str) -> Select[AskedApproval]:
        query = select(AskedApproval).where(AskedApproval.environment == self.environment, AskedApproval.job == job)
        return query.order_by(AskedApproval.id.desc())


def _refuse(waiting: AskedApproval | None, asker: str, is_gone: Callable[[str], bool]) -> None:
    """Raise if what waits is of somebody else who may be alive."""
    if waiting is None or waiting.asker == asker or waiting.until <= _now() or is_gone(waiting.asker):
        return
    raise BusyError(
        f"{waiting.job}: another plan of it waits for an approval since {waiting.asked_at:%Y-%m-%d %H:%M} UTC",
        remedy=f"approve or reject that one first: {waiting.link or waiting.asker}",
    )


def _now() -> datetime:
    return datetime.now(UTC)
