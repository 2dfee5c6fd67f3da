"""The ledger's part of replays: record them, hand their chunks to the processes that start them, record results."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.orm import Session

from sluice.errors import BusyError, OperationError, RefusedError
from sluice.ledger.chunk_scheduling import (
    ChunkLimits,
    QueuePosition,
    SlotDemand,
    count_busy,
    is_busy,
    is_claimed,
    is_pending,
)
from sluice.ledger.replay_tables import BEGUN, ChunkState, ReplayChunk, ReplayOutcome, ReplayRun
from sluice.ledger.store import Store
from sluice.ledger.tables import REASON
from sluice.ledger.write_conflicts import Writes, refuse_write_conflict

_LOCK = 7_154_824
"""Key of the PostgreSQL advisory lock under which replays begin and chunks are taken. SQLite has one writer anyway."""


class Replays(Store):
    """The replays of one environment."""

    def add(
        self,
        identity: str,
        job: str,
        holder: str,
        release: int,
        plan: Mapping[str, Any],
        chunks: Iterable[str],
        note: str | None,
    ) -> ReplayRun:
        """Record a replay with its chunks, given by the names of their Flink jobs.

        Raises:
            RefusedError: another replay in progress writes the same rows to the same topic.
        """
        replay = ReplayRun(
            id=identity, environment=self.environment, job=job, holder=holder, release=release, plan=dict(plan),
            note=note, started_at=self._clock.now(), ended_at=None, outcome=None, records=None, report=None,
            promoted_at=None,
        )  # fmt: skip
        with self._sessions.begin() as session:
            self._lock(session)
            refuse_write_conflict(session, self.environment, Writes.of(job, plan))
            session.add(replay)
            session.flush()
            for number, name in enumerate(chunks, start=1):
                session.add(ReplayChunk(replay=identity, number=number, name=name, state=ChunkState.WAITING, attempt=0))
        return replay

    def find(self, identity: str) -> ReplayRun:
        """A replay by its id or a unique prefix of it.

        Raises:
            OperationError: no replay matches, or several do.
        """
        query = select(ReplayRun).where(ReplayRun.environment == self.environment, ReplayRun.id.startswith(identity))
        with self._sessions() as session:
            found = list(session.scalars(query.limit(2)))
        if len(found) != 1:
            raise OperationError(
                f"the ledger has {'no replay' if not found else 'several replays'} {identity}",
                remedy="see sluice replays JOB",
            )
        return found[0]

    def unfinished(self, job: str, holder: str) -> ReplayRun | None:
        """The holder's newest replay that is in progress or has failed; None: there is none.

        A cancelled replay doesn't count.
        """
        return self._newest(job, holder, or_(ReplayRun.outcome.is_(None), ReplayRun.outcome == ReplayOutcome.FAILED))

    def newest(self, job: str, holder: str) -> ReplayRun | None:
        """The holder's newest replay, with any outcome; None: there is none."""
        return self._newest(job, holder)

    def _newest(self, job: str, holder: str, *more: ColumnElement[bool]) -> ReplayRun | None:
        query = select(ReplayRun).where(ReplayRun.environment == self.environment, ReplayRun.job == job)
        query = query.where(ReplayRun.holder == holder, *more)
        with self._sessions() as session:
            return session.scalars(query.order_by(ReplayRun.started_at.desc()).limit(1)).first()

    def refuse_write_conflict(self, writes: Writes) -> None:
        """Refuse a replay that would write the same rows to the same topic as another replay in progress.

        Raises:
            RefusedError: another replay writes them.
        """
        with self._sessions() as session:
            refuse_write_conflict(session, self.environment, writes)

    def unfinished_ones(self) -> list[ReplayRun]:
        """The replays in progress, of all jobs."""
        query = select(ReplayRun).where(ReplayRun.environment == self.environment, ReplayRun.outcome.is_(None))
        with self._sessions() as session:
            return list(session.scalars(query))

    def of(self, job: str, limit: int = 20) -> list[ReplayRun]:
        """The job's replays, newest first."""
        query = select(ReplayRun).where(ReplayRun.environment == self.environment, ReplayRun.job == job)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(ReplayRun.started_at.desc()).limit(limit)))

    def chunks(self, replay: str) -> list[ReplayChunk]:
        """The chunks of a replay, in order."""
        with self._sessions() as session:
            query = select(ReplayChunk).where(ReplayChunk.replay == replay)
            return list(session.scalars(query.order_by(ReplayChunk.number)))

    def chunk(self, replay: str, number: int) -> ReplayChunk:
        """A chunk by its number.

        Raises:
            OperationError: the replay has no such chunk.
        """
        with self._sessions() as session:
            found = session.get(ReplayChunk, (replay, number))
        if found is None:
            raise OperationError(f"replay {replay[:8]} has no chunk {number}")
        return found

    def running(self) -> frozenset[str]:
        """The Flink job ids of the chunks that should run."""
        query = select(ReplayChunk.flink_job_id).join(ReplayRun)
        query = query.where(ReplayRun.environment == self.environment, ReplayChunk.state == ChunkState.RUNNING)
        with self._sessions() as session:
            return frozenset(filter(None, session.scalars(query)))

    def begun(self) -> list[ReplayChunk]:
        """The chunks of all jobs that should run or are starting."""
        with self._sessions() as session:
            return self._begun(session)

    def adopt(self, replay: str, number: int, taker: str, flink_job_id: str) -> None:
        """Record that another process takes over the chunk's Flink job, unless the chunk has another one by now."""
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            if (row.state, row.flink_job_id) == (ChunkState.RUNNING, flink_job_id):
                row.taker = taker

    def claim(
        self,
        replay: str,
        number: int,
        taker: str,
        limits: ChunkLimits,
        *,
        alive: Collection[str] = (),
        is_gone: Callable[[str], bool] = lambda _taker: False,
        slots: SlotDemand | None = None,
    ) -> bool:
        """Reserve a chunk for the process that will start it; False: it has to wait.

        This reopens a failed replay. A finished chunk can't be claimed; see `run_again`.

        No process can claim a chunk whose submission may be in progress, not even one with the same name: the earlier
        process may be alive, and its submission may arrive even if it is dead.

        Args:
            replay: The replay's id.
            number: The chunk's number.
            taker: The process that claims it; it may claim the same chunk again.
            limits: How many chunks may be running or starting.
            alive: The ids of the Flink jobs that have not ended; chunks of other Flink jobs don't count as running.
            is_gone: Whether another process is known to have ended.
            slots: The slots that the chunk needs and that are free; None: not checked.

        Raises:
            RefusedError: the replay was cancelled; or it had ended, and another replay has written the same rows to the
                same topic since it began.
        """
        with self._sessions.begin() as session:
            # One process at a time, so that each counts the chunks that the others have taken.
            self._lock(session)
            found = session.get_one(ReplayRun, replay, with_for_update=True)
            if found.outcome == ReplayOutcome.CANCELLED:
                raise _cancelled(found)
            own, now = session.get_one(ReplayChunk, (replay, number)), self._clock.now()
            if own.state == ChunkState.FINISHED or is_claimed(own, taker, alive, is_gone, now):
                return False
            if not limits.leave_room(*count_busy(own, self._begun(session, ReplayRun.job == found.job), alive, now)):
                return False
            if slots and slots.needed > slots.free - self._pending_slots(session, own, alive):
                return False
            self._open(session, found)
            own.state, own.taker, own.began_at, own.ended_at = ChunkState.STARTING, taker, now, None
            return True

    def give_back(self, replay: str, number: int, taker: str) -> None:
        """Set a claimed, unsubmitted chunk back to waiting, unless another process has claimed it since."""
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            if (row.state, row.taker) == (ChunkState.STARTING, taker):
                row.state, row.taker, row.began_at = ChunkState.WAITING, None, None

    def run_again(self, replay: str, number: int) -> None:
        """Set a finished chunk to waiting, to run it again.

        This reopens its replay, which can't be promoted until it has a new report.

        Raises:
            RefusedError: another replay has written the same rows to the same topic since.
        """
        with self._sessions.begin() as session:
            self._lock(session)
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            if row.state == ChunkState.FINISHED:
                self._open(session, session.get_one(ReplayRun, replay, with_for_update=True))
                row.state = ChunkState.WAITING

    def pending_slots(self, replay: str, number: int, alive: Collection[str]) -> int:
        """The slots that the cluster still reports as free, but that other chunks will take in a moment.

        If this chunk is starting, chunks that started later wait for it and don't count.
        """
        with self._sessions() as session:
            return self._pending_slots(session, session.get_one(ReplayChunk, (replay, number)), alive)

    def queue_position(
        self, replay: str, number: int, taker: str, limits: ChunkLimits, *, alive: Collection[str] = ()
    ) -> QueuePosition:
        """The position of a waiting chunk in the queue; the arguments are those of `claim`."""
        before = select(func.count()).select_from(ReplayChunk).where(ReplayChunk.replay == replay)
        before = before.where(ReplayChunk.number < number, ReplayChunk.state == ChunkState.WAITING)
        now = self._clock.now()
        with self._sessions() as session:
            job, outcome = session.execute(select(ReplayRun.job, ReplayRun.outcome).where(ReplayRun.id == replay)).one()
            own = session.get_one(ReplayChunk, (replay, number))
            busy, busy_here = count_busy(own, self._begun(session, ReplayRun.job == job), alive, now)
            others = session.scalars(before).one()
        taken = is_claimed(own, taker, alive, lambda _taker: False, now)
        is_there = own.state == ChunkState.RUNNING and own.flink_job_id in alive
        is_over = outcome == ReplayOutcome.CANCELLED or own.state == ChunkState.FINISHED or is_there
        may_start = not taken and limits.leave_room(busy, busy_here)
        return QueuePosition(is_over, may_start, others, own.taker if taken else None, busy, busy_here)

    def submitting(self, replay: str, number: int, taker: str, cluster: Mapping[str, Any] | None = None) -> str:
        """Choose and record the Flink job id of a chunk's next attempt, before its submission.

        Args:
            replay: The replay's id.
            number: The chunk's number.
            taker: The process that submits it.
            cluster: `Identity.values` of the cluster that it is submitted to.

        Raises:
            BusyError: another process has taken the chunk.
        """
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            if (row.state, row.taker) != (ChunkState.STARTING, taker):
                raise BusyError(
                    f"{row.name} is {row.state}, and no longer assigned to {taker}", remedy="see sluice replays JOB"
                )
            row.flink_job_id, row.state, row.reason, row.records = uuid.uuid4().hex, ChunkState.RUNNING, None, None
            row.cluster = dict(cluster) if cluster else None
            row.attempt += 1
            row.began_at, row.ended_at = self._clock.now(), None
            return row.flink_job_id

    def read(self, replay: str, number: int, records: int) -> None:
        """Record the number of records that a chunk has read so far."""
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
        """Record how a chunk's attempt ended, unless another attempt has begun since or is starting.

        Args:
            replay: The replay's id.
            number: The chunk's number.
            state: The final state.
            flink_job_id: The attempt's Flink job; None: the attempt had not been submitted.
            records: Number of records read.
            reason: The reason of a failure.
        """
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            expected = (ChunkState.RUNNING if flink_job_id else ChunkState.STARTING, flink_job_id or row.flink_job_id)
            if (row.state, row.flink_job_id) != expected:
                return
            row.state, row.reason, row.ended_at = state, reason and reason[:REASON], self._clock.now()
            row.records = row.records if records is None else records

    def ended(self, replay: str, outcome: ReplayOutcome, report: Mapping[str, Any] | None = None) -> None:
        """Record a replay's outcome. A failure doesn't replace an outcome that is recorded already.

        Raises:
            RefusedError: completed was given for a cancelled replay, or cancelled for a completed one.
        """
        with self._sessions.begin() as session:
            row = session.get_one(ReplayRun, replay, with_for_update=True)
            if outcome == ReplayOutcome.FAILED and row.outcome is not None:
                return
            if (row.outcome, outcome) == (ReplayOutcome.CANCELLED, ReplayOutcome.COMPLETED):
                raise _cancelled(row)
            if (row.outcome, outcome) == (ReplayOutcome.COMPLETED, ReplayOutcome.CANCELLED):
                raise RefusedError(
                    f"replay {replay[:8]} of {row.job} has completed and can't be cancelled",
                    remedy="to remove its rows, delete its output topic",
                )
            chunks = session.scalars(select(ReplayChunk).where(ReplayChunk.replay == replay))
            row.outcome, row.ended_at = outcome, self._clock.now()
            row.records = sum(chunk.records or 0 for chunk in chunks)
            row.report = dict(report) if report is not None else row.report

    def reopen(self, replay: str, holder: str | None = None) -> ReplayRun:
        """Continue a replay that has ended without completing: its unfinished chunks run again.

        Args:
            replay: The replay's id.
            holder: The process that continues it; None: the holder stays, and a cancelled replay is refused.

        Raises:
            RefusedError: another replay has written the same rows to the same topic since; or it was cancelled.
        """
        with self._sessions.begin() as session:
            self._lock(session)
            row = session.get_one(ReplayRun, replay, with_for_update=True)
            if holder is None and row.outcome == ReplayOutcome.CANCELLED:
                raise _cancelled(row)
            if row.outcome != ReplayOutcome.COMPLETED:
                self._open(session, row)
                row.holder = holder or row.holder
            return row

    def running_chunks(self, job: str, alive: Collection[str]) -> int:
        """How many chunks of a job's replays are running or starting; see `claim`."""
        now = self._clock.now()
        with self._sessions() as session:
            return sum(is_busy(chunk, alive, now) for chunk in self._begun(session, ReplayRun.job == job))

    def promoted(self, replay: str) -> None:
        """Record that a replay's rows were written to the live topic."""
        with self._sessions.begin() as session:
            session.get_one(ReplayRun, replay).promoted_at = self._clock.now()

    def _lock(self, session: Session) -> None:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})

    def _open(self, session: Session, replay: ReplayRun) -> None:
        """Reopen a replay, unless it is in progress."""
        if replay.outcome is not None:
            refuse_write_conflict(session, self.environment, Writes.of(replay.job, replay.plan), ended=replay)
            replay.outcome, replay.ended_at = None, None

    def _pending_slots(self, session: Session, own: ReplayChunk, alive: Collection[str]) -> int:
        query = select(ReplayChunk, ReplayRun.plan["parallelism"].as_integer()).join(ReplayRun)
        query = query.where(ReplayRun.environment == self.environment, ReplayChunk.state.in_(BEGUN))
        now = self._clock.now()
        return sum(
            int(parallelism or 1)
            for row, parallelism in session.execute(query)
            if row is not own and is_pending(row, alive, own, now)
        )

    def _begun(self, session: Session, *where: ColumnElement[bool]) -> list[ReplayChunk]:
        """The chunks of the environment's replays that are running or starting according to the ledger."""
        query = select(ReplayChunk).join(ReplayRun).where(ReplayRun.environment == self.environment, *where)
        return list(session.scalars(query.where(ReplayChunk.state.in_(BEGUN))))


def _cancelled(replay: ReplayRun) -> RefusedError:
    return RefusedError(
        f"replay {replay.id[:8]} of {replay.job} was cancelled",
        remedy=f"to continue it, run: sluice backfill {replay.job} --resume {replay.id[:8]}",
    )
