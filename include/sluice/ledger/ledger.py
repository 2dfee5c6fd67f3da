"""The ledger: which releases there are, what should run, and one operation per job at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Select, and_, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from sluice.errors import BusyError, OperationError
from sluice.ledger.approvals import Approvals
from sluice.ledger.clusters import Clusters
from sluice.ledger.database import for_reading, open_database
from sluice.ledger.forgotten import Forgotten
from sluice.ledger.notification_log import NotificationLog
from sluice.ledger.operation_handle import LEASE, TOUCHES, OperationHandle
from sluice.ledger.placement_version import PlacementVersion, check_placement_version
from sluice.ledger.replays import Replays
from sluice.ledger.samples import Samples
from sluice.ledger.tables import REASON, JournalEntry, Operation, Phase, Placement, Release, Savepoint


@dataclass(frozen=True)
class NewRelease:
    """What a release is entered with; see `sluice.ledger.tables.Release`."""

    fingerprint: str
    artifact: str
    module: str
    resolved: Mapping[str, Any]
    overrides: Mapping[str, Any] = field(default_factory=dict)
    graph: str | None = None
    meanings: Mapping[str, Any] | None = None
    health: Mapping[str, Any] | None = None
    operators: Mapping[str, Any] | None = None


class Ledger:
    """The durable record of one environment's jobs.

    Args:
        url: SQLAlchemy URL of the database; it is migrated when needed.
        environment: Whose jobs.
        migrates: False: it is taken as it is, for who reads alone.
    """

    def __init__(self, url: str, environment: str, *, migrates: bool = True) -> None:
        engine = open_database(url, migrates=migrates)
        self._sessions = sessionmaker(engine, expire_on_commit=False)
        self._reading = sessionmaker(for_reading(engine))
        self.environment = environment
        self.samples = Samples(self._sessions, environment)
        self.replays = Replays(self._sessions, environment)
        self.told = NotificationLog(self._sessions, environment)
        self.clusters = Clusters(self._sessions, environment)
        self.approvals = Approvals(self._sessions, environment)
        self.forgotten = Forgotten(self._sessions, environment)

    def reading(self) -> Session:
        """A session for queries of one's own, that read alone: it waits for no writer, and keeps none waiting."""
        return self._reading()

    def add_release(self, job: str, **values: Any) -> Release:
        """The job's newest release, when it has this fingerprint; otherwise a new one with the next number.

        Args:
            job: The job's name.
            values: Those of a `NewRelease`.

        Raises:
            BusyError: somebody else has entered a release at the same moment.
        """
        try:
            with self._sessions.begin() as session:
                return self._entered(session, job, NewRelease(**values))
        except IntegrityError as error:
            raise _just_begun(job) from error

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

    def releases(self, job: str) -> list[Release]:
        """The job's releases, newest first."""
        with self._sessions() as session:
            return list(session.scalars(self._releases(job)))

    def placement(self, job: str) -> Placement | None:
        """Where the job stands; None: nothing was ever started."""
        with self._sessions() as session:
            return session.get(Placement, (self.environment, job))

    def places(self) -> dict[str, Placement]:
        """Where every job stands that was ever started, by the job's name."""
        query = select(Placement).where(Placement.environment == self.environment)
        with self._sessions() as session:
            return {place.job: place for place in session.scalars(query)}

    def placements(self, phases: Collection[Phase] | None = None) -> dict[str, tuple[Placement, Release]]:
        """Where every job stands that was ever started, with the release it runs or ran, by the job's name.

        Args:
            phases: Only jobs that stand in one of these; None: all.
        """
        of_release = and_(
            Release.environment == Placement.environment,
            Release.job == Placement.job,
            Release.number == Placement.release,
        )
        query = select(Placement, Release).join(Release, of_release)
        if phases is not None:
            query = query.where(Placement.phase.in_(phases))
        with self._sessions() as session:
            found = session.execute(query.where(Placement.environment == self.environment))
            return {place.job: (place, release) for place, release in found}

    def placed(self) -> list[str]:
        """The names of all jobs that were ever started, in order; not of those that were taken off the list."""
        is_listed = or_(Placement.forgotten_at.is_(None), Placement.forgotten_at < Placement.since)
        query = select(Placement.job).where(Placement.environment == self.environment, is_listed)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Placement.job)))

    def saw_checkpoint(self, job: str, flink_job_id: str) -> None:
        """Record that the job that runs under this id has made a checkpoint, which must not be lost."""
        with self._sessions.begin() as session:
            session.execute(
                update(Placement)
                .where(
                    Placement.environment == self.environment,
                    Placement.job == job,
                    Placement.flink_job_id == flink_job_id,
                    Placement.had_checkpoint.is_(False),
                )
                .values(had_checkpoint=True)
            )

    def savepoints(self, job: str) -> list[Savepoint]:
        """The job's savepoints, newest first, deleted ones as well."""
        query = select(Savepoint).where(Savepoint.environment == self.environment, Savepoint.job == job)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Savepoint.id.desc())))

    def savepoint_deleted(self, number: int) -> None:
        """Record that a savepoint was deleted."""
        with self._sessions.begin() as session:
            session.execute(update(Savepoint).where(Savepoint.id == number).values(deleted_at=_now()))

    def active(self, job: str) -> Operation | None:
        """The operation that holds the job; None: nobody does."""
        query = select(Operation).where(Operation.environment == self.environment, Operation.active_job == job)
        with self._sessions() as session:
            return session.scalars(query).first()

    def all_active(self) -> list[Operation]:
        """The operations that hold a job, of all jobs."""
        query = select(Operation).where(Operation.environment == self.environment, Operation.active_job.is_not(None))
        with self._sessions() as session:
            return list(session.scalars(query))

    def begin(
        self,
        job: str,
        *,
        kind: str,
        holder: str,
        release: int | NewRelease,
        is_gone: Callable[[str], bool] = lambda _holder: False,
        details: Mapping[str, Any] | None = None,
        stand: PlacementVersion | None = None,
    ) -> OperationHandle:
        """Take the job for an operation, or go on with the holder's own.

        An operation whose lease has run out is abandoned: its holder is gone, and can't write any more. So is one of
        the holder's own that has touched nothing and was of another release: what was meant has changed since.

        Args:
            job: The job's name.
            kind: `deploy`, `rollback`, `suspend`, `resume` or `savepoint`.
            holder: Who takes it.
            release: The release's number, or one that is entered together with the operation: not before it is
                certain that nobody else holds the job.
            is_gone: Whether another holder is known to have ended, so that its lease needn't be waited for.
            details: More columns of a new operation.
            stand: Where the job stood when this was planned; None: wherever it stands.

        Raises:
            ChangedError: it stands elsewhere by now.
            BusyError: someone else holds the job, or this holder does for something else; names the holder.
        """
        now = _now()
        try:
            with self._sessions.begin() as session:
                active = session.scalars(
                    select(Operation)
                    .where(Operation.environment == self.environment, Operation.active_job == job)
                    .with_for_update()
                ).first()
                is_own = active is not None and (active.holder, active.kind) == (holder, kind)
                if active is not None and is_own and self._is_of(session, active, release):
                    active.token += 1
                    active.lease_until = now + LEASE
                    self._refuse_changed(session, job, stand)
                    if not _is_touched(session, active):
                        # Nothing was done yet of what was meant before.
                        for name, value in (details or {}).items():
                            setattr(active, name, value)
                    return OperationHandle(self._sessions, active.id, active.token, active)
                if active is not None:
                    _refuse(active, holder, is_gone)
                    _refuse_own(session, active, holder, kind)
                    active.active_job, active.outcome, active.ended_at = None, "abandoned", now
                    active.token += 1
                    session.flush()
                if isinstance(release, NewRelease):
                    release = self._entered(session, job, release).number
                not_yet = dict.fromkeys(("ended_at", "outcome", "reason"))
                given = {"active_job": job, "lease_until": now + LEASE, **not_yet, **(details or {})}
                operation = self._add(session, job, kind, holder, release, now, given)
                session.flush()
                # Now that nobody else can have the job any more.
                self._refuse_changed(session, job, stand)
                return OperationHandle(self._sessions, operation.id, 1, operation)
        except IntegrityError as error:
            raise _just_begun(job) from error

    def add_failed(
        self, job: str, *, kind: str, holder: str, release: int, reason: str, plan: Mapping[str, Any] | None = None
    ) -> None:
        """Record a try at an operation that came to nothing before it could take the job; nobody is hindered by it."""
        now = _now()
        with self._sessions.begin() as session:
            given = {"lease_until": now, "ended_at": now, "outcome": "failed", "reason": reason[:REASON]}
            given["plan"] = _plain(plan)
            self._add(session, job, kind, holder, release, now, given)

    def _add(
        self,
        session: Session,
        job: str,
        kind: str,
        holder: str,
        release: int,
        now: datetime,
        more: Mapping[str, Any],
    ) -> Operation:
        """An operation that begins now, with more of its columns."""
        operation = Operation(
            id=uuid.uuid4().hex,
            environment=self.environment,
            job=job,
            kind=kind,
            holder=holder,
            token=1,
            release=release,
            started_at=now,
            **more,
        )
        session.add(operation)
        return operation

    def resume(self, operation: str) -> OperationHandle:
        """Go on with an operation by its id: a later task of the same run.

        Raises:
            OperationError: there is no such operation.
            BusyError: it has ended.
        """
        with self._sessions.begin() as session:
            found = session.get(Operation, operation, with_for_update=True)
            if found is None:
                raise OperationError(f"the ledger has no operation {operation}")
            if found.active_job is None:
                raise BusyError(
                    f"{found.job}: operation {operation[:8]} has ended ({found.outcome})", remedy="start a new one"
                )
            found.token += 1
            found.lease_until = _now() + LEASE
            return OperationHandle(self._sessions, found.id, found.token, found)

    def operation(self, operation: str) -> Operation:
        """An operation by its id, ended or not.

        Raises:
            OperationError: there is no such operation.
        """
        with self._sessions() as session:
            found = session.get(Operation, operation)
        if found is None:
            raise OperationError(f"the ledger has no operation {operation}")
        return found

    def operations(self, job: str, limit: int = 20) -> list[Operation]:
        """The job's operations, newest first."""
        query = select(Operation).where(Operation.environment == self.environment, Operation.job == job)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Operation.started_at.desc()).limit(limit)))

    def has_used(self, job: str, holder: str, approved_at: datetime) -> bool:
        """Whether an approval that this holder was given then is spent.

        It is once an operation that it was given for has ended, however that was; and once any other of the holder's
        has come to an end since: one whose plan needed no approval any more when it was done.
        """
        since = and_(Operation.ended_at >= approved_at, Operation.outcome != "abandoned")
        query = select(Operation.id).where(
            Operation.environment == self.environment,
            Operation.job == job,
            Operation.holder == holder,
            Operation.ended_at.is_not(None),
            or_(Operation.approved_at == approved_at, since),
        )
        with self._sessions() as session:
            return session.scalars(query.limit(1)).first() is not None

    def refuse_busy(self, job: str, holder: str, is_gone: Callable[[str], bool]) -> None:
        """Raise what `begin` would.

        Raises:
            BusyError: someone else holds the job.
        """
        if active := self.active(job):
            _refuse(active, holder, is_gone)

    def _entered(self, session: Session, job: str, new: NewRelease) -> Release:
        newest = session.scalars(self._releases(job).limit(1)).first()
        if newest is not None and newest.fingerprint == new.fingerprint:
            newest.graph = newest.graph or new.graph
            newest.operators = newest.operators or _plain(new.operators)
            return newest
        release = Release(
            environment=self.environment,
            job=job,
            number=newest.number + 1 if newest else 1,
            created_at=_now(),
            healthy_at=None,
            **{field.name: _plain(getattr(new, field.name)) for field in fields(new)},
        )
        session.add(release)
        session.flush()
        return release

    def _refuse_changed(self, session: Session, job: str, stand: PlacementVersion | None) -> None:
        if stand is not None:
            check_placement_version(job, stand, PlacementVersion.of(session.get(Placement, (self.environment, job))))

    def _is_of(self, session: Session, operation: Operation, release: int | NewRelease) -> bool:
        if isinstance(release, int):
            return operation.release == release
        entered = session.scalars(self._releases(operation.job).where(Release.number == operation.release)).one()
        return entered.fingerprint == release.fingerprint

    def _releases(self, job: str) -> Select[Release]:
        query = select(Release).where(Release.environment == self.environment, Release.job == job)
        return query.order_by(Release.number.desc())


def _plain(value: Any) -> Any:
    return dict(value) if isinstance(value, Mapping) else value


def _just_begun(job: str) -> BusyError:
    """Another process was faster by a moment."""
    return BusyError(f"{job}: another operation has just begun", remedy="wait for it, then try again")


def _refuse(active: Operation, holder: str, is_gone: Callable[[str], bool]) -> None:
    """Raise if the operation is in the hands of somebody else who may be alive."""
    if active.holder == holder or active.lease_until <= _now() or is_gone(active.holder):
        return
    raise BusyError(
        f"{active.job}: {active.kind} by {active.holder} goes on since {active.started_at:%H:%M:%S} UTC",
        remedy=f"wait for it; its lease ends at {active.lease_until:%H:%M:%S} UTC unless it shows life",
    )


def _refuse_own(session: Session, active: Operation, holder: str, kind: str) -> None:
    """Raise if the holder itself is at something else that must come to its end: two tasks of one run may be."""
    if active.holder != holder or active.lease_until <= _now():
        return
    if active.kind == kind and not _is_touched(session, active):
        return
    raise BusyError(
        f"{active.job}: {holder} is at a {active.kind} of release {active.release} since "
        f"{active.started_at:%H:%M:%S} UTC, which has not ended",
        remedy=f"go on with that one, or wait; its lease ends at {active.lease_until:%H:%M:%S} UTC",
    )


def _is_touched(session: Session, operation: Operation) -> bool:
    """Whether it has begun to stop or to start a job."""
    entries = select(JournalEntry.stage, JournalEntry.event).where(JournalEntry.operation == operation.id)
    return any((stage, event) in TOUCHES for stage, event in session.execute(entries))


def _now() -> datetime:
    return datetime.now(UTC)
