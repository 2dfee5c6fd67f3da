"""Replays in the ledger: which parts of a job's history were run again, chunk by chunk, and what came of them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String, func, or_, select
from sqlalchemy.orm import Mapped, Session, mapped_column, sessionmaker

from sluice.errors import BusyError, OperationError
from sluice.release.tables import REASON, Base

ReplayOutcome = Literal["completed", "failed", "cancelled"]
ChunkState = Literal["waiting", "starting", "running", "finished", "failed", "cancelled"]
_BEGUN: tuple[ChunkState, ...] = ("starting", "running")
_STARTING = timedelta(minutes=5)
"""How long a chunk may be compiled and submitted; who has taken it for longer is taken for dead."""
SUBMITTING = timedelta(seconds=90)
"""How long the cluster may not know a Flink job whose id was chosen: longer than a client is given to submit it."""
_SETTLING = timedelta(seconds=10)
"""How long after that the slots of a Flink job may still count as free: longer than a cluster takes to give them."""


class Replay(Base):
    """A replay: one range of event time, run again by one release of a job."""

    __tablename__ = "replays"
    __table_args__ = (Index("ix_replays_job", "environment", "job", "started_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(63))
    holder: Mapped[str] = mapped_column(String(500))
    """Who does it: a retry of the same goes on with the same replay."""
    release: Mapped[int]
    plan: Mapped[dict[str, Any]]
    """`ReplayPlan`: range, chunks, output topics, settings."""
    note: Mapped[str | None] = mapped_column(String(1000))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(20))
    """completed, failed, cancelled; None while it goes on."""
    records: Mapped[int | None] = mapped_column(BigInteger)
    """How many it has read, once it has ended."""
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """What the comparison with the live output gave."""
    promoted_at: Mapped[datetime | None]
    """When its rows were written into the live topic; None: never."""


class ReplayChunk(Base):
    """One chunk of a replay: a Flink job of its own."""

    __tablename__ = "replay_chunks"

    replay: Mapped[str] = mapped_column(ForeignKey("replays.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    """Of the Flink job."""
    state: Mapped[str] = mapped_column(String(20))
    """waiting; starting: `taker` compiles it; running under `flink_job_id`; finished, failed, cancelled."""
    taker: Mapped[str | None] = mapped_column(String(500))
    """Who has taken its turn, or sees to what another one has begun."""
    flink_job_id: Mapped[str | None] = mapped_column(String(32))
    """Chosen before it is submitted under it."""
    attempt: Mapped[int]
    records: Mapped[int | None] = mapped_column(BigInteger)
    """How many it has read so far."""
    reason: Mapped[str | None] = mapped_column(String(REASON))
    """Why it failed."""
    began_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]


@dataclass(frozen=True)
class Limits:
    """How many chunks may run side by side: of one replay, and of all replays of a job."""

    replay: int
    job: int


@dataclass(frozen=True)
class Slots:
    """The task slots that a chunk takes, and those that are free for chunks: of all replays together."""

    needed: int
    free: int


@dataclass(frozen=True)
class Turn:
    """Where a chunk that waits stands.

    Attributes:
        is_over: There is nothing to wait for: its replay was cancelled, or its Flink job is there to be found.
        has_come: It could be taken, as far as its limits go.
        before: How many chunks of its replay with lower numbers wait as well.
    """

    is_over: bool
    has_come: bool
    before: int


class Replays:
    """The replays of one environment.

    Args:
        sessions: The ledger's.
        environment: Whose.
    """

    def __init__(self, sessions: sessionmaker[Session], environment: str) -> None:
        self._sessions = sessions
        self.environment = environment

    def add(
        self,
        identity: str,
        job: str,
        holder: str,
        release: int,
        plan: Mapping[str, Any],
        chunks: Iterable[str],
        note: str | None,
    ) -> Replay:
        """Enter a replay with its chunks, by the names of their Flink jobs."""
        replay = Replay(
            id=identity, environment=self.environment, job=job, holder=holder, release=release, plan=dict(plan),
            note=note, started_at=_now(), ended_at=None, outcome=None, records=None, report=None, promoted_at=None,
        )  # fmt: skip
        with self._sessions.begin() as session:
            session.add(replay)
            session.flush()
            for number, name in enumerate(chunks, start=1):
                session.add(ReplayChunk(replay=identity, number=number, name=name, state="waiting", attempt=0))
        return replay

    def find(self, identity: str) -> Replay:
        """A replay by its id, or by the beginning of it that no other one has.

        Raises:
            OperationError: there is none, or several.
        """
        query = select(Replay).where(Replay.environment == self.environment, Replay.id.startswith(identity))
        with self._sessions() as session:
            found = list(session.scalars(query.limit(2)))
        if len(found) != 1:
            raise OperationError(
                f"the ledger has {'no replay' if not found else 'several replays'} {identity}",
                remedy="see sluice replays JOB",
            )
        return found[0]

    def unfinished(self, job: str, holder: str) -> Replay | None:
        """The replay that this holder has begun, and that has not come to a good end; None: there is none.

        One that was cancelled stays so.
        """
        is_unfinished = or_(Replay.outcome.is_(None), Replay.outcome == "failed")
        query = select(Replay).where(
            Replay.environment == self.environment, Replay.job == job, Replay.holder == holder, is_unfinished
        )
        with self._sessions() as session:
            return session.scalars(query.order_by(Replay.started_at.desc()).limit(1)).first()

    def unfinished_ones(self) -> list[Replay]:
        """The replays of all jobs that go on."""
        query = select(Replay).where(Replay.environment == self.environment, Replay.outcome.is_(None))
        with self._sessions() as session:
            return list(session.scalars(query))

    def of(self, job: str, limit: int = 20) -> list[Replay]:
        """The job's replays, newest first."""
        query = select(Replay).where(Replay.environment == self.environment, Replay.job == job)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Replay.started_at.desc()).limit(limit)))

    def chunks(self, replay: str) -> list[ReplayChunk]:
        """The chunks of a replay, in order."""
        with self._sessions() as session:
            query = select(ReplayChunk).where(ReplayChunk.replay == replay)
            return list(session.scalars(query.order_by(ReplayChunk.number)))

    def chunk(self, replay: str, number: int) -> ReplayChunk:
        """One chunk.

        Raises:
            OperationError: there is none.
        """
        with self._sessions() as session:
            found = session.get(ReplayChunk, (replay, number))
        if found is None:
            raise OperationError(f"replay {replay[:8]} has no chunk {number}")
        return found

    def running(self) -> frozenset[str]:
        """The Flink job ids of the chunks that should run."""
        query = select(ReplayChunk.flink_job_id).join(Replay)
        query = query.where(Replay.environment == self.environment, ReplayChunk.state == "running")
        with self._sessions() as session:
            return frozenset(filter(None, session.scalars(query)))

    def begun(self) -> list[ReplayChunk]:
        """The chunks of all jobs that should run, or are being started."""
        query = select(ReplayChunk).join(Replay).where(Replay.environment == self.environment)
        with self._sessions() as session:
            return list(session.scalars(query.where(ReplayChunk.state.in_(_BEGUN))))

    def adopt(self, replay: str, number: int, taker: str, flink_job_id: str) -> None:
        """Record that another one sees to the Flink job of a chunk, unless it isn't the chunk's any more."""
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            if (row.state, row.flink_job_id) == ("running", flink_job_id):
                row.taker = taker

    def take_turn(
        self,
        replay: str,
        number: int,
        taker: str,
        limits: Limits,
        *,
        alive: Collection[str] = (),
        is_gone: Callable[[str], bool] = lambda _taker: False,
        slots: Slots | None = None,
    ) -> bool:
        """Take a chunk to start it, so that nobody else does; False: it is not its turn yet.

        A replay that had ended goes on with it: until it has a report again, nothing of it is promoted.

        One whose Flink job may be on its way is taken, by whomever: the process that submits it may be alive though
        another one has its name, and what it has sent may arrive though it is dead.

        Args:
            replay: The replay's id.
            number: The chunk's.
            taker: Who takes it; one that has taken it before takes it again.
            limits: How many may be on their way or run.
            alive: The Flink jobs that have not ended: others are nobody's trouble, whatever became of who ran them.
            is_gone: Whether another taker is known to have ended.
            slots: What it takes of the cluster, and what was free there; None: that is not asked.

        Raises:
            OperationError: the replay was cancelled.
        """
        with self._sessions.begin() as session:
            # Whoever takes a chunk waits here, so that nobody counts what another one is about to take.
            may_run = or_(Replay.outcome.is_(None), Replay.id == replay)
            open_ones = select(Replay.id).where(Replay.environment == self.environment, may_run)
            session.execute(open_ones.order_by(Replay.id).with_for_update())
            found = session.get_one(Replay, replay, populate_existing=True)
            if found.outcome == "cancelled":
                raise OperationError(f"replay {replay[:8]} of {found.job} was cancelled", remedy="start a new one")
            own = session.get_one(ReplayChunk, (replay, number))
            begun = self._begun(session, found.job)
            if _is_taken(own, taker, alive, is_gone) or not _has_room(own, begun, limits, alive):
                return False
            if slots and slots.needed > slots.free - self._pending_slots(session, own, alive):
                return False
            own.state, own.taker, own.began_at, own.ended_at = "starting", taker, _now(), None
            found.outcome, found.ended_at = None, None
            return True

    def pending_slots(self, replay: str, number: int, alive: Collection[str]) -> int:
        """The task slots that other chunks will take in a moment: the cluster still counts them as free."""
        with self._sessions() as session:
            return self._pending_slots(session, session.get_one(ReplayChunk, (replay, number)), alive)

    def turn(self, replay: str, number: int, taker: str, limits: Limits, *, alive: Collection[str] = ()) -> Turn:
        """Where a chunk stands that waits for its turn."""
        before = select(func.count()).select_from(ReplayChunk)
        before = before.where(ReplayChunk.replay == replay, ReplayChunk.number < number, ReplayChunk.state == "waiting")
        with self._sessions() as session:
            job, outcome = session.execute(select(Replay.job, Replay.outcome).where(Replay.id == replay)).one()
            own, begun = session.get_one(ReplayChunk, (replay, number)), self._begun(session, job)
            others = session.scalars(before).one()
        has_come = not _is_taken(own, taker, alive, lambda _taker: False) and _has_room(own, begun, limits, alive)
        is_over = outcome == "cancelled" or (own.state == "running" and own.flink_job_id in alive)
        return Turn(is_over, has_come, others)

    def submitting(self, replay: str, number: int, taker: str) -> str:
        """Choose the Flink job id of a chunk's next attempt, before anything is submitted under it.

        Raises:
            BusyError: the chunk isn't this taker's any more.
        """
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            if (row.state, row.taker) != ("starting", taker):
                raise BusyError(f"{row.name} is {row.state}, and no longer {taker}'s", remedy="look at it again")
            row.flink_job_id, row.state, row.reason, row.records = uuid.uuid4().hex, "running", None, None
            row.attempt += 1
            row.began_at, row.ended_at = _now(), None
            return row.flink_job_id

    def read(self, replay: str, number: int, records: int) -> None:
        """Record how far a chunk has come."""
        with self._sessions.begin() as session:
            session.get_one(ReplayChunk, (replay, number)).records = records

    def chunk_ended(
        self,
        replay: str,
        number: int,
        state: ChunkState,
        *,
        flink_job_id: str | None,
        records: int | None = None,
        reason: str | None = None,
    ) -> None:
        """Record how a chunk's attempt ended, unless another one has begun since, or is being started.

        Args:
            replay: The replay's id.
            number: The chunk's.
            state: How.
            flink_job_id: Of the attempt; None: nothing was to be submitted yet.
            records: How many it has read.
            reason: Why it failed.
        """
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            is_starting = row.state == "starting"
            if not is_starting if flink_job_id is None else is_starting or row.flink_job_id != flink_job_id:
                return
            row.state, row.reason, row.ended_at = state, reason and reason[:REASON], _now()
            row.records = row.records if records is None else records

    def ended(self, replay: str, outcome: ReplayOutcome, report: Mapping[str, Any] | None = None) -> None:
        """Record how a replay ended; one that was cancelled, or has completed, does not fail afterwards."""
        with self._sessions.begin() as session:
            row = session.get_one(Replay, replay, with_for_update=True)
            if outcome == "failed" and row.outcome is not None:
                return
            chunks = session.scalars(select(ReplayChunk).where(ReplayChunk.replay == replay))
            row.outcome, row.ended_at = outcome, _now()
            row.records = sum(chunk.records or 0 for chunk in chunks)
            row.report = dict(report) if report is not None else row.report

    def reopen(self, replay: str) -> Replay:
        """Let a replay go on that has ended without completing: its chunks that have not finished are run again."""
        with self._sessions.begin() as session:
            row = session.get_one(Replay, replay)
            if row.outcome != "completed":
                row.outcome, row.ended_at = None, None
            return row

    def running_chunks(self, job: str, alive: Collection[str]) -> int:
        """How many chunks of a job's replays run, or are being started; see `take_turn`."""
        with self._sessions() as session:
            return sum(_is_busy(chunk, alive) for chunk in self._begun(session, job))

    def promoted(self, replay: str) -> None:
        """Record that a replay's rows are in the live topic."""
        with self._sessions.begin() as session:
            session.get_one(Replay, replay).promoted_at = _now()

    def _pending_slots(self, session: Session, own: ReplayChunk, alive: Collection[str]) -> int:
        query = select(ReplayChunk, Replay.plan["parallelism"].as_integer()).join(Replay)
        query = query.where(Replay.environment == self.environment, ReplayChunk.state.in_(_BEGUN))
        return sum(
            int(parallelism or 1)
            for row, parallelism in session.execute(query)
            if row is not own and _is_pending(row, alive)
        )

    def _begun(self, session: Session, job: str) -> list[ReplayChunk]:
        """The chunks of a job's replays that run, or are being started, as the ledger has it."""
        query = select(ReplayChunk).join(Replay).where(Replay.environment == self.environment, Replay.job == job)
        return list(session.scalars(query.where(ReplayChunk.state.in_(_BEGUN))))


def _is_taken(own: ReplayChunk, taker: str, alive: Collection[str], is_gone: Callable[[str], bool]) -> bool:
    """Somebody else is starting it, or it has a Flink job, or may have one in a moment."""
    if own.state == "running":
        return own.flink_job_id in alive or is_young(own)
    return _is_starting(own) and own.taker != taker and not is_gone(own.taker or "")


def _has_room(own: ReplayChunk, rows: Iterable[ReplayChunk], limits: Limits, alive: Collection[str]) -> bool:
    busy = [row for row in rows if row is not own and _is_busy(row, alive)]
    return len(busy) < limits.job and sum(row.replay == own.replay for row in busy) < limits.replay


def _is_busy(chunk: ReplayChunk, alive: Collection[str]) -> bool:
    """It runs, or is on its way."""
    if chunk.state != "running":
        return _is_starting(chunk)
    return chunk.flink_job_id in alive or is_young(chunk)


def _is_pending(chunk: ReplayChunk, alive: Collection[str]) -> bool:
    """It is about to take task slots."""
    if chunk.state != "running" or chunk.flink_job_id not in alive:
        return _is_busy(chunk, alive)
    return chunk.began_at is not None and _now() - chunk.began_at < _SETTLING


def is_young(chunk: ReplayChunk) -> bool:
    """Its Flink job, where the cluster doesn't know it, may be on its way."""
    return chunk.began_at is not None and _now() - chunk.began_at < SUBMITTING


def _is_starting(chunk: ReplayChunk) -> bool:
    """By somebody who may be alive."""
    return chunk.state == "starting" and chunk.began_at is not None and _now() - chunk.began_at < _STARTING


def _now() -> datetime:
    return datetime.now(UTC)
