"""The ledger: which releases there are, what should run, and one operation per job at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Select, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from sluice.errors import BusyError, OperationError
from sluice.release.database import open_database
from sluice.release.tables import JournalEntry, Operation, Release, Running

LEASE = timedelta(minutes=15)
"""How long an operation is its holder's after each sign of life: longer than any wait between two of them."""


class Ledger:
    """The durable record of one environment's jobs.

    Args:
        url: SQLAlchemy URL of the database; it is migrated when needed.
        environment: Whose jobs.
    """

    def __init__(self, url: str, environment: str) -> None:
        self._sessions = sessionmaker(open_database(url), expire_on_commit=False)
        self.environment = environment

    def add_release(
        self, job: str, *, fingerprint: str, artifact: str, module: str, resolved: Mapping[str, Any]
    ) -> Release:
        """The job's newest release, when it has this fingerprint; otherwise a new one with the next number."""
        with self._sessions.begin() as session:
            newest = session.scalars(self._releases(job).limit(1)).first()
            if newest is not None and newest.fingerprint == fingerprint:
                return newest
            release = Release(
                environment=self.environment,
                job=job,
                number=newest.number + 1 if newest else 1,
                fingerprint=fingerprint,
                artifact=artifact,
                module=module,
                resolved=dict(resolved),
                created_at=_now(),
                healthy_at=None,
            )
            session.add(release)
            return release

    def release(self, job: str, number: int) -> Release:
        """A release by its number.

        Raises:
            OperationError: there is none.
        """
        with self._sessions() as session:
            found = session.scalars(self._releases(job).where(Release.number == number)).first()
        if found is None:
            raise OperationError(f"{job}: the ledger has no release {number}")
        return found

    def running(self, job: str) -> Running | None:
        """What of the job should run; None: nothing was ever started."""
        with self._sessions() as session:
            return session.get(Running, (self.environment, job))

    def begin(
        self, job: str, *, kind: str, holder: str, release: int, is_gone: Callable[[str], bool] = lambda _holder: False
    ) -> OperationHandle:
        """Take the job for an operation, or go on with the holder's own.

        An operation whose lease has run out is abandoned: its holder is gone, and can't write any more.

        Args:
            job: The job's name.
            kind: `deploy`.
            holder: Who takes it.
            release: The release's number.
            is_gone: Whether another holder is known to have ended, so that its lease needn't be waited for.

        Raises:
            BusyError: someone else holds the job; names the holder.
        """
        now = _now()
        try:
            with self._sessions.begin() as session:
                active = session.scalars(
                    select(Operation).where(Operation.environment == self.environment, Operation.active_job == job)
                ).first()
                if active is not None and active.holder == holder and active.release == release:
                    active.token += 1
                    active.lease_until = now + LEASE
                    return OperationHandle(self._sessions, active.id, active.token, active)
                if active is not None:
                    if active.holder != holder and active.lease_until > now and not is_gone(active.holder):
                        raise _busy(active)
                    active.active_job, active.outcome, active.ended_at = None, "abandoned", now
                    active.token += 1
                    session.flush()
                operation = Operation(
                    id=uuid.uuid4().hex,
                    environment=self.environment,
                    job=job,
                    active_job=job,
                    kind=kind,
                    holder=holder,
                    token=1,
                    lease_until=now + LEASE,
                    release=release,
                    started_at=now,
                    ended_at=None,
                    outcome=None,
                    reason=None,
                )
                session.add(operation)
                session.flush()
                return OperationHandle(self._sessions, operation.id, 1, operation)
        except IntegrityError as error:
            # Another process began at the same moment.
            raise BusyError(f"{job}: another operation has just begun", remedy="wait for it, then try again") from error

    def resume(self, operation: str) -> OperationHandle:
        """Go on with an operation by its id: a later task of the same run.

        Raises:
            OperationError: there is no such operation.
            BusyError: it has ended.
        """
        with self._sessions.begin() as session:
            found = session.get(Operation, operation)
            if found is None:
                raise OperationError(f"the ledger has no operation {operation}")
            if found.active_job is None:
                raise BusyError(
                    f"{found.job}: operation {operation[:8]} has ended ({found.outcome})", remedy="start a new one"
                )
            found.token += 1
            found.lease_until = _now() + LEASE
            return OperationHandle(self._sessions, found.id, found.token, found)

    def operations(self, job: str, limit: int = 20) -> list[Operation]:
        """The job's operations, newest first."""
        query = select(Operation).where(Operation.environment == self.environment, Operation.job == job)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Operation.started_at.desc()).limit(limit)))

    def _releases(self, job: str) -> Select[Release]:
        query = select(Release).where(Release.environment == self.environment, Release.job == job)
        return query.order_by(Release.number.desc())


class OperationHandle:
    """An operation in the hands of one process. Each write proves that it still holds it.

    Attributes:
        id: The operation's id.
        token: The fencing token of this holder.
        row: The operation as it was when it was taken.
    """

    def __init__(self, sessions: sessionmaker[Session], operation: str, token: int, row: Operation) -> None:
        self._sessions = sessions
        self.id = operation
        self.token = token
        self.row = row

    def record(self, stage: str, event: str, **data: Any) -> None:
        """Write a journal entry, and renew the lease.

        Raises:
            BusyError: another process has taken the operation.
        """
        with self._sessions.begin() as session:
            self._prove(session)
            number = len(self._entries(session)) + 1
            session.add(JournalEntry(operation=self.id, number=number, stage=stage, event=event, data=data, at=_now()))

    def entry(self, stage: str, event: str) -> Mapping[str, Any] | None:
        """The newest data recorded under this stage and event; None: there is none."""
        with self._sessions() as session:
            found = [item.data for item in self._entries(session) if (item.stage, item.event) == (stage, event)]
        return found[-1] if found else None

    def start(self, stage: str, *, flink_job_id: str, restored_from: str | None) -> None:
        """Record, in one transaction, that the job is about to be submitted under this id."""
        with self._sessions.begin() as session:
            self._prove(session)
            number = len(self._entries(session)) + 1
            data = {"flink_job_id": flink_job_id, "restored_from": restored_from}
            now = _now()
            session.add(JournalEntry(operation=self.id, number=number, stage=stage, event="submit", data=data, at=now))
            session.merge(
                Running(
                    environment=self.row.environment,
                    job=self.row.job,
                    release=self.row.release,
                    flink_job_id=flink_job_id,
                    restored_from=restored_from,
                    had_checkpoint=restored_from is not None,
                    since=now,
                )
            )

    def saw_checkpoint(self) -> None:
        """Record that the running job has state that must not be lost."""
        with self._sessions.begin() as session:
            self._prove(session)
            running = session.get(Running, (self.row.environment, self.row.job))
            if running is not None:
                running.had_checkpoint = True

    def finish(self, outcome: str, reason: str | None = None) -> None:
        """End the operation; a healthy one marks its release so.

        Raises:
            BusyError: another process has taken the operation.
        """
        with self._sessions.begin() as session:
            self._prove(session)
            operation = session.get_one(Operation, self.id)
            operation.active_job, operation.outcome, operation.ended_at = None, outcome, _now()
            operation.reason = reason[:4000] if reason else None
            if outcome == "healthy":
                session.execute(
                    update(Release)
                    .where(
                        Release.environment == operation.environment,
                        Release.job == operation.job,
                        Release.number == operation.release,
                        Release.healthy_at.is_(None),
                    )
                    .values(healthy_at=_now())
                )

    def _prove(self, session: Session) -> None:
        changed = session.execute(
            update(Operation)
            .where(Operation.id == self.id, Operation.token == self.token, Operation.active_job.is_not(None))
            .values(lease_until=_now() + LEASE)
        )
        if changed.rowcount != 1:  # type: ignore[attr-defined]  # an UPDATE's result has it
            raise BusyError(
                f"operation {self.id[:8]} of {self.row.job} was taken by another process, or has ended",
                remedy="leave it to that one",
            )

    def _entries(self, session: Session) -> list[JournalEntry]:
        query = select(JournalEntry).where(JournalEntry.operation == self.id).order_by(JournalEntry.number)
        return list(session.scalars(query))


def _busy(active: Operation) -> BusyError:
    return BusyError(
        f"{active.job}: {active.kind} by {active.holder} goes on since {active.started_at:%H:%M:%S} UTC",
        remedy=f"wait for it; its lease ends at {active.lease_until:%H:%M:%S} UTC unless it shows life",
    )


def _now() -> datetime:
    return datetime.now(UTC)
