"""The handle with which a process writes an operation's journal, under a lease and a fencing token."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import select, update
from sqlalchemy.orm import Session, sessionmaker

from sluice.clock import Clock
from sluice.errors import BusyError
from sluice.ledger.tables import REASON, JournalEntry, Operation, Placement, Release, Savepoint
from sluice.ledger.transitions import Transition
from sluice.ledger.values import Outcome

LEASE = timedelta(minutes=15)
"""How long an operation belongs to its holder after a renewal: longer than any time between two renewals."""
_TOUCHES = (("stop", "stop"), ("start", "submit"), ("back", "cancel"))
"""Stage and event of the journal entries that are written before a job is stopped or started."""


def is_touched(session: Session, operation: Operation) -> bool:
    """Whether the operation has begun to stop or start a job."""
    entries = select(JournalEntry.stage, JournalEntry.event).where(JournalEntry.operation == operation.id)
    return any((stage, event) in _TOUCHES for stage, event in session.execute(entries))


class OperationHandle:
    """Writes to an operation for its holder's process. Each write checks the fencing token and renews the lease.

    Attributes:
        id: The operation's id.
        token: The fencing token of this process.
        row: The operation's row as it was when this process began or continued it.
    """

    def __init__(self, sessions: sessionmaker[Session], row: Operation, clock: Clock) -> None:
        self._sessions = sessions
        self._clock = clock
        self.id = row.id
        self.token = row.token
        self.row = row

    def record(self, stage: str, event: str, *, transition: Transition | None = None, **data: Any) -> None:
        """Write a journal entry, and renew the lease.

        Args:
            stage: The stage of the operation.
            event: The effect that follows or was completed.
            transition: A change of the job's placement, written in the same transaction; None: the placement stays.
            data: What a process that continues the operation needs to know.

        Raises:
            BusyError: another process has taken the operation.
        """
        with self._sessions.begin() as session:
            self._check_token(session)
            number = len(self._entries(session)) + 1
            at = self._clock.now()
            session.add(JournalEntry(operation=self.id, number=number, stage=stage, event=event, data=data, at=at))
            if transition is not None:
                self._apply(session, transition)

    def renew_lease(self) -> None:
        """Renew the lease. This fails if another process has taken the operation since this one read it.

        Raises:
            BusyError: another process has taken the operation.
        """
        with self._sessions.begin() as session:
            self._check_token(session)

    def update(self, **columns: Any) -> None:
        """Set columns of the operation itself.

        Raises:
            BusyError: another process has taken the operation.
        """
        with self._sessions.begin() as session:
            self._check_token(session)
            operation = session.get_one(Operation, self.id)
            for name, value in columns.items():
                setattr(operation, name, value)

    def keep_until(self, moment: datetime) -> None:
        """Extend the lease to this moment, if that is later. Called before a wait without renewals."""
        with self._sessions.begin() as session:
            self._check_token(session)
            operation = session.get_one(Operation, self.id)
            operation.lease_until = max(operation.lease_until, moment)

    def add_savepoint(self, path: str, *, release: int, flink_job_id: str) -> None:
        """Record a savepoint of this operation, or of one whose process died before recording it; once per path."""
        with self._sessions.begin() as session:
            self._check_token(session)
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
                        taken_at=self._clock.now(),
                        deleted_at=None,
                    )
                )

    def entry(self, stage: str, event: str) -> Mapping[str, Any] | None:
        """The data of the newest journal entry with this stage and event; None: there is none."""
        with self._sessions() as session:
            found = [item.data for item in self._entries(session) if (item.stage, item.event) == (stage, event)]
        return found[-1] if found else None

    @property
    def is_touched(self) -> bool:
        """Whether the operation has begun to stop or to start a job."""
        with self._sessions() as session:
            return is_touched(session, self.row)

    def finish(self, outcome: Outcome, reason: str | None = None) -> None:
        """End the operation. With the outcome healthy, unchanged or recorded, mark its release as healthy.

        Raises:
            BusyError: another process has taken the operation.
        """
        with self._sessions.begin() as session:
            self._check_token(session)
            operation = session.get_one(Operation, self.id)
            operation.active_job, operation.outcome, operation.ended_at = None, outcome, self._clock.now()
            operation.reason = reason[:REASON] if reason else None
            if Outcome(outcome).is_healthy:
                session.execute(
                    update(Release)
                    .where(
                        Release.environment == operation.environment,
                        Release.job == operation.job,
                        Release.number == operation.release,
                        Release.healthy_at.is_(None),
                    )
                    .values(healthy_at=self._clock.now())
                )

    def _apply(self, session: Session, transition: Transition) -> None:
        placement = session.get(Placement, (self.row.environment, self.row.job))
        if placement is None:
            placement = Placement(environment=self.row.environment, job=self.row.job, had_checkpoint=False)
            session.add(placement)
        transition.apply(placement)
        placement.since = self._clock.now()

    def _check_token(self, session: Session) -> None:
        """Renew the lease under this process's fencing token, in the caller's transaction."""
        changed = session.execute(
            update(Operation)
            .where(Operation.id == self.id, Operation.token == self.token, Operation.active_job.is_not(None))
            .values(lease_until=self._clock.now() + LEASE)
        )
        if changed.rowcount != 1:  # type: ignore[attr-defined]  # an UPDATE's result has it
            raise BusyError(
                f"operation {self.id[:8]} of {self.row.job} was taken over by another process, or has ended",
                remedy="see sluice history for its outcome; if needed, deploy again",
            )

    def _entries(self, session: Session) -> list[JournalEntry]:
        query = select(JournalEntry).where(JournalEntry.operation == self.id).order_by(JournalEntry.number)
        return list(session.scalars(query))
