"""An operation in the hands of one process: its journal, its lease and its fencing token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from sluice.errors import BusyError
from sluice.ledger.tables import REASON, JournalEntry, Operation, Placement, Release, Savepoint
from sluice.ledger.transitions import Transition

LEASE = timedelta(minutes=15)
"""How long an operation is its holder's after each sign of life: longer than any wait between two of them."""
TOUCHES = (("stop", "stop"), ("start", "submit"), ("back", "cancel"))
"""Stage and event of the journal's entries before a job is stopped or started."""


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

    def record(self, stage: str, event: str, *, transition: Transition | None = None, **data: Any) -> None:
        """Write a journal entry, and renew the lease.

        Args:
            stage: What is being done.
            event: What is about to be done or was done.
            transition: How the job's placement changes with it, in the same transaction.
            data: What whoever goes on needs to know.

        Raises:
            BusyError: another process has taken the operation.
        """
        with self._sessions.begin() as session:
            self._prove(session)
            number = len(self._entries(session)) + 1
            session.add(JournalEntry(operation=self.id, number=number, stage=stage, event=event, data=data, at=_now()))
            if transition is not None:
                self._apply(session, transition)

    def prove(self) -> None:
        """Renew the lease: what was read before has been written by nobody else.

        Raises:
            BusyError: another process has taken the operation.
        """
        with self._sessions.begin() as session:
            self._prove(session)

    def update(self, **columns: Any) -> None:
        """Set columns of the operation itself.

        Raises:
            BusyError: another process has taken the operation.
        """
        with self._sessions.begin() as session:
            self._prove(session)
            operation = session.get_one(Operation, self.id)
            for name, value in columns.items():
                setattr(operation, name, value)

    def keep_until(self, moment: datetime) -> None:
        """Hold the job until then without a sign of life, when that is longer than the lease: a wait begins."""
        with self._sessions.begin() as session:
            self._prove(session)
            operation = session.get_one(Operation, self.id)
            operation.lease_until = max(operation.lease_until, moment)

    def add_savepoint(self, path: str, *, release: int, flink_job_id: str) -> None:
        """Record a savepoint of this operation, or of one that has died before it could: once."""
        with self._sessions.begin() as session:
            self._prove(session)
            known = select(Savepoint).where(
                Savepoint.environment == self.row.environment, Savepoint.job == self.row.job, Savepoint.path == path
            )
            if session.scalars(known).first() is None:
                session.add(
                    Savepoint(
                        environment=self.row.environment,
                        job=self.row.job,
                        path=path,
                        release=release,
                        flink_job_id=flink_job_id,
                        operation=self.id,
                        taken_at=_now(),
                        deleted_at=None,
                    )
                )

    def entry(self, stage: str, event: str) -> Mapping[str, Any] | None:
        """The newest data recorded under this stage and event; None: there is none."""
        with self._sessions() as session:
            found = [item.data for item in self._entries(session) if (item.stage, item.event) == (stage, event)]
        return found[-1] if found else None

    def finish(self, outcome: str, reason: str | None = None) -> None:
        """End the operation; one whose release has passed its gates marks it healthy.

        Raises:
            BusyError: another process has taken the operation.
        """
        with self._sessions.begin() as session:
            self._prove(session)
            operation = session.get_one(Operation, self.id)
            operation.active_job, operation.outcome, operation.ended_at = None, outcome, _now()
            operation.reason = reason[:REASON] if reason else None
            if outcome in ("healthy", "unchanged", "recorded"):
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

    def _apply(self, session: Session, transition: Transition) -> None:
        placement = session.get(Placement, (self.row.environment, self.row.job))
        if placement is None:
            placement = Placement(environment=self.row.environment, job=self.row.job, had_checkpoint=False)
            session.add(placement)
        transition.apply(placement)
        placement.since = _now()

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


def _now() -> datetime:
    return datetime.now(UTC)
