"""Approval requests: the run that asks for the approval of a plan, the plan, the time and the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import Select, String, UniqueConstraint, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Mapped, mapped_column

from sluice.errors import BusyError
from sluice.ledger.store import Store
from sluice.ledger.tables import Base

Answer = Literal["approved", "rejected", "timed_out", "withdrawn"]
"""approved, rejected: by the person in `answered_by`. timed_out: no answer until the deadline. withdrawn: the run that
asked has ended, or now asks for another plan."""


class AskedApproval(Base):
    """A request for the approval of a plan."""

    __tablename__ = "approvals"
    __table_args__ = (UniqueConstraint("environment", "waiting_job"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(63), index=True)
    waiting_job: Mapped[str | None] = mapped_column(String(63))
    """The job while the request is open, then None. It is unique, so that a job has one open request at a time."""
    asker: Mapped[str] = mapped_column(String(500))
    """The run that waits for the answer, in the format of an operation's holder."""
    fingerprint: Mapped[str] = mapped_column(String(64))
    """The fingerprint of the plan's target."""
    plan: Mapped[dict[str, Any]]
    why: Mapped[str] = mapped_column(String(4000))
    """Why it needs an approval."""
    link: Mapped[str | None] = mapped_column(String(2000))
    """URL of the page on which a person answers the request."""
    asked_at: Mapped[datetime]
    until: Mapped[datetime]
    """The deadline: without an answer the plan is refused then."""
    answer: Mapped[str | None] = mapped_column(String(20))
    """See `Answer`; None: the request is open."""
    answered_by: Mapped[str | None] = mapped_column(String(500))
    answered_at: Mapped[datetime | None]

    @property
    def words(self) -> str:
        """The status of the request, as text."""
        requested = f"requested at {self.asked_at:%Y-%m-%d %H:%M} UTC"
        match self.answer:
            case None:
                return f"waiting for approval until {self.until:%Y-%m-%d %H:%M} UTC: {self.link or self.asker}"
            case "timed_out":
                return f"{requested}, not answered in time"
            case "withdrawn":
                return f"{requested}, withdrawn: the run has ended, or now has another plan"
            case answer:
                return f"{answer} by {self.answered_by} at {self.answered_at:%Y-%m-%d %H:%M} UTC"


class Approvals(Store):
    """The approval requests of one environment."""

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
        """Record that a run waits for the approval of a plan. A second request of the run replaces its first.

        Args:
            asker: The run that waits.
            plan: The plan, as JSON values.
            why: Why the plan needs an approval.
            until: The deadline, after which the plan counts as refused.
            link: URL of the page on which a person answers the request.
            is_gone: Whether another run has ended: its open request is withdrawn.

        Raises:
            BusyError: another run waits for the approval of a plan of this job.
        """
        request = (asker, plan, why, until, link, is_gone)
        try:
            return self._ask(*request)
        except IntegrityError:
            # Another run has inserted its request at the same time; the second attempt finds it.
            return self._ask(*request)

    def _ask(
        self,
        asker: str,
        plan: Mapping[str, Any],
        why: str,
        until: datetime,
        link: str | None,
        is_gone: Callable[[str], bool],
    ) -> AskedApproval:
        job, now = plan["job"], self._clock.now()
        with self._sessions.begin() as session:
            waiting = session.scalars(self._of(job).where(AskedApproval.waiting_job == job).with_for_update()).first()
            _refuse(waiting, asker, is_gone, now)
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
        """Raise as `ask` would, without recording a request.

        Raises:
            BusyError: another run waits for the approval of a plan of this job.
        """
        with self._sessions() as session:
            waiting = session.scalars(self._of(job).where(AskedApproval.waiting_job == job)).first()
        _refuse(waiting, asker, is_gone, self._clock.now())

    def answer(self, job: str, asker: str, answer: Answer, by: str | None = None, at: datetime | None = None) -> None:
        """Record the answer to a run's open request. No effect if the request is answered already.

        Args:
            job: The job's name.
            asker: The run that waits.
            answer: The answer.
            by: The person who answered; None: no person did.
            at: When; None: now.
        """
        with self._sessions.begin() as session:
            waiting = self._of(job).where(AskedApproval.waiting_job == job, AskedApproval.asker == asker)
            found = session.scalars(waiting.with_for_update()).first()
            if found is not None:
                found.waiting_job, found.answer = None, answer
                found.answered_by, found.answered_at = by, at or self._clock.now()

    def of(self, job: str, limit: int = 20) -> list[AskedApproval]:
        """The approval requests of a job, newest first."""
        with self._sessions() as session:
            return list(session.scalars(self._of(job).limit(limit)))

    def about(self, plan: Mapping[str, Any]) -> AskedApproval | None:
        """The job's newest approval request of the plan's kind, if it is for the same change and not withdrawn.

        The same change: it has the same target fingerprint, and replaces the same release. None: there is none.

        Args:
            plan: The plan, as JSON values.
        """
        with self._sessions() as session:
            requests = session.scalars(self._of(plan["job"]))
            found = next((each for each in requests if each.plan["kind"] == plan["kind"]), None)
        if found is None or found.answer == "withdrawn":
            return None
        return found if all(found.plan[name] == plan[name] for name in ("fingerprint", "former_release")) else None

    def given(self, job: str, asker: str) -> AskedApproval | None:
        """The last request of this run if it was approved; otherwise None."""
        query = self._of(job).where(AskedApproval.asker == asker)
        with self._sessions() as session:
            found = session.scalars(query.limit(1)).first()
        return found if found is not None and found.answer == "approved" else None

    def _of(self, job: str) -> Select[AskedApproval]:
        query = select(AskedApproval).where(AskedApproval.environment == self.environment, AskedApproval.job == job)
        return query.order_by(AskedApproval.id.desc())


def _refuse(waiting: AskedApproval | None, asker: str, is_gone: Callable[[str], bool], now: datetime) -> None:
    """Raise if the open request is another run's that may still be waiting."""
    if waiting is None or waiting.asker == asker or waiting.until <= now or is_gone(waiting.asker):
        return
    raise BusyError(
        f"{waiting.job}: another plan of this job has been waiting for approval since "
        f"{waiting.asked_at:%Y-%m-%d %H:%M} UTC",
        remedy=f"approve or reject it first: {waiting.link or waiting.asker}",
    )
