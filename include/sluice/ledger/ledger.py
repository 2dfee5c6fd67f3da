"""The ledger: releases, placements (what should run), and operations, of which a job has one at a time."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field, fields
from datetime import datetime
from typing import Any

from sqlalchemy import Select, and_, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.orm import Session, sessionmaker

from sluice.clock import MACHINE, Clock
from sluice.errors import BusyError, OperationError
from sluice.ledger.approvals import Approvals
from sluice.ledger.busy import just_begun, refuse_held, refuse_own
from sluice.ledger.clusters import Clusters
from sluice.ledger.database import for_reading, open_database
from sluice.ledger.forgotten import Forgotten
from sluice.ledger.notification_log import NotificationLog
from sluice.ledger.operation_handle import LEASE, OperationHandle, is_touched
from sluice.ledger.placement_version import PlacementVersion, check_placement_version
from sluice.ledger.replays import Replays
from sluice.ledger.samples import Samples
from sluice.ledger.tables import REASON, Operation, Placement, Release, Savepoint
from sluice.ledger.values import Outcome, Phase


@dataclass(frozen=True)
class NewRelease:
    """The columns of a release that is about to be recorded; see `sluice.ledger.tables.Release`."""

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
        url: SQLAlchemy URL of the database.
        environment: The name of the environment.
        migrates: Migrate the database to the current schema; False: don't change it, for readers.
        clock: The clock of its times, and of the leases.
    """

    def __init__(self, url: str, environment: str, *, migrates: bool = True, clock: Clock = MACHINE) -> None:
        engine = open_database(url, migrates=migrates)
        self._sessions = sessionmaker(engine, expire_on_commit=False)
        self._reading = sessionmaker(for_reading(engine))
        self._clock = clock
        self.environment = environment
        self.samples = Samples(self._sessions, environment, clock)
        self.replays = Replays(self._sessions, environment, clock)
        self.notifications = NotificationLog(self._sessions, environment, clock)
        self.clusters = Clusters(self._sessions, environment, clock)
        self.approvals = Approvals(self._sessions, environment, clock)
        self.forgotten = Forgotten(self._sessions, environment, clock)

    def reading(self) -> Session:
        """A read-only session for queries of the caller: it neither waits for writers nor blocks them."""
        return self._reading()

    def add_release(self, job: str, **values: Any) -> Release:
        """The job's newest release if it has this fingerprint; otherwise record a new one with the next number.

        Args:
            job: The job's name.
            values: The fields of a `NewRelease`.

        Raises:
            BusyError: another process has recorded a release at the same moment.
        """
        try:
            with self._sessions.begin() as session:
                return self._entered(session, job, NewRelease(**values))
        except IntegrityError as error:
            raise just_begun(job) from error

    def release(self, job: str, number: int) -> Release:
        """A release by its number.

        Raises:
            OperationError: the ledger has no such release.
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
        """The job's placement; None: the job was never started."""
        with self._sessions() as session:
            return session.get(Placement, (self.environment, job))

    def places(self) -> dict[str, Placement]:
        """The placements of all jobs that were ever started, by the job's name."""
        query = select(Placement).where(Placement.environment == self.environment)
        with self._sessions() as session:
            return {place.job: place for place in session.scalars(query)}

    def placements(self, phases: Collection[Phase] | None = None) -> dict[str, tuple[Placement, Release]]:
        """The placements of all jobs that were ever started, each with its release, by the job's name.

        Args:
            phases: Only placements in these phases; None: all.
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
        """The names of all jobs that were ever started, sorted; without forgotten jobs."""
        is_listed = or_(Placement.forgotten_at.is_(None), Placement.forgotten_at < Placement.since)
        query = select(Placement.job).where(Placement.environment == self.environment, is_listed)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Placement.job)))

    def saw_checkpoint(self, job: str, flink_job_id: str) -> None:
        """Record that the Flink job has completed a checkpoint: starting without it would lose state."""
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
        """The job's savepoints, newest first, including deleted ones."""
        query = select(Savepoint).where(Savepoint.environment == self.environment, Savepoint.job == job)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Savepoint.id.desc())))

    def savepoint_deleted(self, number: int) -> None:
        """Record that a savepoint was deleted."""
        with self._sessions.begin() as session:
            session.execute(update(Savepoint).where(Savepoint.id == number).values(deleted_at=self._clock.now()))

    def active(self, job: str) -> Operation | None:
        """The operation in progress on the job; None: there is none."""
        query = select(Operation).where(Operation.environment == self.environment, Operation.active_job == job)
        with self._sessions() as session:
            return session.scalars(query).first()

    def all_active(self) -> list[Operation]:
        """The operations in progress on all jobs."""
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
        planned_for: PlacementVersion | None = None,
    ) -> OperationHandle:
        """Begin an operation on the job, or continue the holder's own operation.

        An operation whose lease has expired is abandoned; its fencing token no longer allows writes. An operation of
        the same holder for another release is abandoned as well, if it has not stopped or started a job yet: the
        request has changed since.

        Args:
            job: The job's name.
            kind: `deploy`, `rollback`, `suspend`, `resume` or `savepoint`.
            holder: The run or process that performs the operation.
            release: The release's number; or a new release, recorded in the same transaction once it is certain that
                no other operation is in progress.
            is_gone: Whether another holder is known to have ended: then its lease isn't waited for.
            details: More columns of a new operation.
            planned_for: The placement's version at planning; None: any.

        Raises:
            ChangedError: the placement has changed since planning.
            BusyError: another holder has an operation in progress, or this holder has a different one.
        """
        now = self._clock.now()
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
                    self._refuse_changed(session, job, planned_for)
                    if not is_touched(session, active):
                        # The former request has had no effect yet: replace its details.
                        for name, value in (details or {}).items():
                            setattr(active, name, value)
                    return self._handle(active)
                if active is not None:
                    refuse_held(active, holder, is_gone, now)
                    refuse_own(session, active, holder, kind, now)
                    active.active_job, active.outcome, active.ended_at = None, Outcome.ABANDONED, now
                    active.token += 1
                    session.flush()
                if isinstance(release, NewRelease):
                    release = self._entered(session, job, release).number
                not_yet = dict.fromkeys(("ended_at", "outcome", "reason"))
                given = {"active_job": job, "lease_until": now + LEASE, **not_yet, **(details or {})}
                operation = self._add(session, job, kind, holder, release, now, given)
                session.flush()
                # Checked now, since no other process can change the placement any more.
                self._refuse_changed(session, job, planned_for)
                return self._handle(operation)
        except IntegrityError as error:
            raise just_begun(job) from error

    def add_failed(
        self, job: str, *, kind: str, holder: str, release: int, reason: str, plan: Mapping[str, Any] | None = None
    ) -> None:
        """Record an attempt that failed before the operation began, so that retry limits count it. It takes no lock."""
        now = self._clock.now()
        with self._sessions.begin() as session:
            given = {"lease_until": now, "ended_at": now, "outcome": Outcome.FAILED, "reason": reason[:REASON]}
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
        """Insert an operation that begins now; `more` has further columns."""
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
        """Continue an operation by its id, in a later task of the same run.

        Raises:
            OperationError: the ledger has no such operation.
            BusyError: the operation has ended.
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
            found.lease_until = self._clock.now() + LEASE
            return self._handle(found)

    def operation(self, operation: str) -> Operation:
        """An operation by its id, ended or in progress.

        Raises:
            OperationError: the ledger has no such operation.
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
        """Whether the approval that this holder got at that time has been used.

        It has if the operation that it was given for has ended, with any outcome; or if another operation of the holder
        has ended since without being abandoned, because its plan no longer needed an approval.
        """
        since = and_(Operation.ended_at >= approved_at, Operation.outcome != Outcome.ABANDONED)
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
        """Raise as `begin` would, without beginning an operation.

        Raises:
            BusyError: another holder has an operation in progress on the job.
        """
        if active := self.active(job):
            refuse_held(active, holder, is_gone, self._clock.now())

    def _handle(self, operation: Operation) -> OperationHandle:
        return OperationHandle(self._sessions, operation, self._clock)

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
            created_at=self._clock.now(),
            healthy_at=None,
            **{field.name: _plain(getattr(new, field.name)) for field in fields(new)},
        )
        session.add(release)
        session.flush()
        return release

    def _refuse_changed(self, session: Session, job: str, planned_for: PlacementVersion | None) -> None:
        if planned_for is not None:
            check_placement_version(
                job, planned_for, PlacementVersion.of(session.get(Placement, (self.environment, job)))
            )

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
