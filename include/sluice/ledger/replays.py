"""Replays in the ledger: added, their chunks claimed and ended, and their outcome recorded."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, func, or_, select, text
from sqlalchemy.orm import Session, sessionmaker

from sluice.errors import BusyError, OperationError, RefusedError
from sluice.ledger.chunk_scheduling import (
    ConcurrencyLimits,
    QueuePosition,
    SlotDemand,
    count_busy,
    is_busy,
    is_claimed,
    is_pending,
)
from sluice.ledger.replay_tables import BEGUN, ChunkState, ReplayChunk, ReplayOutcome, ReplayRun
from sluice.ledger.tables import REASON
from sluice.ledger.write_conflicts import Writes, refuse_met

_LOCK = 7_154_824
"""PostgreSQL advisory lock: one process at a time adds a replay or claims a chunk. (SQLite has one writer anyway.)"""


class Replays:
    """The replays of one environment.

    Args:
        sessions: The ledger's sessions.
        environment: The environment's name.
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
    ) -> ReplayRun:
        """Add a replay with its chunks, given by the names of their Flink jobs.

        Raises:
            RefusedError: another running replay writes the same rows into the same topic.
        """
        replay = ReplayRun(
            id=identity, environment=self.environment, job=job, holder=holder, release=release, plan=dict(plan),
            note=note, started_at=_now(), ended_at=None, outcome=None, records=None, report=None, promoted_at=None,
        )  # fmt: skip
        with self._sessions.begin() as session:
            self._lock(session)
            refuse_met(session, self.environment, Writes.of(job, plan))
            session.add(replay)
            session.flush()
            for number, name in enumerate(chunks, start=1):
                session.add(ReplayChunk(replay=identity, number=number, name=name, state=ChunkState.WAITING, attempt=0))
        return replay

    def find(self, identity: str) -> ReplayRun:
        """A replay by its id, or by an unambiguous beginning of it.

        Raises:
            OperationError: none or several match.
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
        """The holder's replay of the job that runs or has failed; None: there is none.

        A cancelled one is not resumed.
        """
        return self._newest(job, holder, or_(ReplayRun.outcome.is_(None), ReplayRun.outcome == ReplayOutcome.FAILED))

    def newest(self, job: str, holder: str) -> ReplayRun | None:
        """The holder's last replay of the job, with any outcome; None: there is none."""
        return self._newest(job, holder)

    def _newest(self, job: str, holder: str, *more: ColumnElement[bool]) -> ReplayRun | None:
        query = select(ReplayRun).where(
            ReplayRun.environment == self.environment, ReplayRun.job == job, ReplayRun.holder == holder
        )
        with self._sessions() as session:
            return session.scalars(query.where(*more).order_by(ReplayRun.started_at.desc()).limit(1)).first()

    def refuse_met(self, writes: Writes) -> None:
        """Refuse a replay that would write the same rows into the same topic as a running one.

        Raises:
            RefusedError: there is such a running replay.
        """
        with self._sessions() as session:
            refuse_met(session, self.environment, writes)

    def unfinished_ones(self) -> list[ReplayRun]:
        """The replays of all jobs that have not ended."""
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
        query = select(ReplayChunk.flink_job_id).join(ReplayRun)
        query = query.where(ReplayRun.environment == self.environment, ReplayChunk.state == ChunkState.RUNNING)
        with self._sessions() as session:
            return frozenset(filter(None, session.scalars(query)))

    def begun(self) -> list[ReplayChunk]:
        """The chunks of all jobs that should run or are being started."""
        query = select(ReplayChunk).join(ReplayRun).where(ReplayRun.environment == self.environment)
        with self._sessions() as session:
            return list(session.scalars(query.where(ReplayChunk.state.in_(BEGUN))))

    def adopt(self, replay: str, number: int, taker: str, flink_job_id: str) -> None:
        """Record that another taker watches a chunk's Flink job, if the chunk still runs as this job."""
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            if (row.state, row.flink_job_id) == (ChunkState.RUNNING, flink_job_id):
                row.taker = taker

    def claim(
        self,
        replay: str,
        number: int,
        taker: str,
        limits: ConcurrencyLimits,
        *,
        alive: Collection[str] = (),
        is_gone: Callable[[str], bool] = lambda _taker: False,
        slots: SlotDemand | None = None,
    ) -> bool:
        """Claim a chunk, so that only this taker starts it; False: it can't be claimed now.

        A failed replay is reopened by the claim. A finished chunk can't be claimed; see `run_again`.

        A chunk whose Flink job may still arrive can't be claimed either, even by the same taker: the process that
        submits it may be alive under that name, and its submission may arrive though it is dead.

        Args:
            replay: The replay's id.
            number: The chunk's number.
            taker: The claiming task or process; one that has claimed the chunk before may claim it again.
            limits: How many chunks may start or run.
            alive: The Flink jobs that have not ended; chunks of other jobs don't count against the limits.
            is_gone: Whether another taker is known to have ended.
            slots: The slots that it takes, and those that were free; None: not checked.

        Raises:
            RefusedError: the replay was cancelled; or it had ended, and another one has since written the same rows
                into the same topic.
        """
        with self._sessions.begin() as session:
            # Claims run one at a time, so that each counts the slots of the one before.
            self._lock(session)
            found = session.get_one(ReplayRun, replay, with_for_update=True)
            if found.outcome == ReplayOutcome.CANCELLED:
                raise _cancelled(found)
            own = session.get_one(ReplayChunk, (replay, number))
            if own.state == ChunkState.FINISHED or is_claimed(own, taker, alive, is_gone):
                return False
            if not limits.leave_room(*count_busy(own, self._begun(session, found.job), alive)):
                return False
            if slots and slots.needed > slots.free - self._pending_slots(session, own, alive):
                return False
            self._open(session, found)
            own.state, own.taker, own.began_at, own.ended_at = ChunkState.STARTING, taker, _now(), None
            return True

    def give_back(self, replay: str, number: int, taker: str) -> None:
        """Return a claimed chunk that was not submitted to the queue, if it still belongs to this taker."""
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            if (row.state, row.taker) == (ChunkState.STARTING, taker):
                row.state, row.taker, row.began_at = ChunkState.WAITING, None, None

    def run_again(self, replay: str, number: int) -> None:
        """Queue a finished chunk once more.

        Its replay is reopened, and can't be promoted until it has a report again.

        Raises:
            RefusedError: another replay has since written the same rows into the same topic.
        """
        with self._sessions.begin() as session:
            self._lock(session)
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            if row.state == ChunkState.FINISHED:
                self._open(session, session.get_one(ReplayRun, replay, with_for_update=True))
                row.state = ChunkState.WAITING

    def pending_slots(self, replay: str, number: int, alive: Collection[str]) -> int:
        """The task slots that other chunks are about to take, which the cluster still counts as free.

        If this chunk is being started, chunks claimed after it don't count: they leave it their slots.
        """
        with self._sessions() as session:
            return self._pending_slots(session, session.get_one(ReplayChunk, (replay, number)), alive)

    def queue_position(
        self, replay: str, number: int, taker: str, limits: ConcurrencyLimits, *, alive: Collection[str] = ()
    ) -> QueuePosition:
        """What a waiting chunk waits for; the arguments are those of `claim`."""
        before = select(func.count()).select_from(ReplayChunk)
        before = before.where(
            ReplayChunk.replay == replay, ReplayChunk.number < number, ReplayChunk.state == ChunkState.WAITING
        )
        with self._sessions() as session:
            job, outcome = session.execute(select(ReplayRun.job, ReplayRun.outcome).where(ReplayRun.id == replay)).one()
            own = session.get_one(ReplayChunk, (replay, number))
            busy, busy_here = count_busy(own, self._begun(session, job), alive)
            others = session.scalars(before).one()
        taken = is_claimed(own, taker, alive, lambda _taker: False)
        is_there = own.state == ChunkState.RUNNING and own.flink_job_id in alive
        return QueuePosition(
            is_over=outcome == ReplayOutcome.CANCELLED or own.state == ChunkState.FINISHED or is_there,
            may_start=not taken and limits.leave_room(busy, busy_here),
            before=others,
            taker=own.taker if taken else None,
            busy=busy,
            busy_here=busy_here,
        )

    def submitting(self, replay: str, number: int, taker: str, cluster: Mapping[str, Any] | None = None) -> str:
        """Choose and record the Flink job id of a chunk's next attempt, before the submission.

        Args:
            replay: The replay's id.
            number: The chunk's number.
            taker: The taker that submits it.
            cluster: `Identity.values` of the cluster that it is submitted to.

        Raises:
            BusyError: another taker has claimed the chunk.
        """
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            if (row.state, row.taker) != (ChunkState.STARTING, taker):
                raise BusyError(f"{row.name} is {row.state}, and no longer {taker}'s", remedy="look at it again")
            row.flink_job_id, row.state, row.reason, row.records = uuid.uuid4().hex, ChunkState.RUNNING, None, None
            row.cluster = dict(cluster) if cluster else None
            row.attempt += 1
            row.began_at, row.ended_at = _now(), None
            return row.flink_job_id

    def read(self, replay: str, number: int, records: int) -> None:
        """Record how many records a chunk has read."""
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
        """Record how a chunk's attempt ended, unless another attempt has started or is being started since.

        Args:
            replay: The replay's id.
            number: The chunk's number.
            state: The state in which it ended.
            flink_job_id: The attempt's Flink job; None: it ended before its submission.
            records: How many records it has read.
            reason: Why it failed.
        """
        with self._sessions.begin() as session:
            row = session.get_one(ReplayChunk, (replay, number), with_for_update=True)
            expected = (
                (ChunkState.STARTING, row.flink_job_id) if flink_job_id is None else (ChunkState.RUNNING, flink_job_id)
            )
            if (row.state, row.flink_job_id) != expected:
                return
            row.state, row.reason, row.ended_at = state, reason and reason[:REASON], _now()
            row.records = row.records if records is None else records

    def ended(self, replay: str, outcome: ReplayOutcome, report: Mapping[str, Any] | None = None) -> None:
        """Record how a replay ended; a cancelled or completed one stays so when it fails later.

        Raises:
            RefusedError: a cancelled one can't complete, and a completed one can't be cancelled.
        """
        with self._sessions.begin() as session:
            row = session.get_one(ReplayRun, replay, with_for_update=True)
            if outcome == ReplayOutcome.FAILED and row.outcome is not None:
                return
            if (row.outcome, outcome) == (ReplayOutcome.CANCELLED, ReplayOutcome.COMPLETED):
                raise _cancelled(row)
            if (row.outcome, outcome) == (ReplayOutcome.COMPLETED, ReplayOutcome.CANCELLED):
                raise RefusedError(
                    f"replay {replay[:8]} of {row.job} has completed: there is nothing to end",
                    remedy="what it has written stays in its topic until that is deleted",
                )
            chunks = session.scalars(select(ReplayChunk).where(ReplayChunk.replay == replay))
            row.outcome, row.ended_at = outcome, _now()
            row.records = sum(chunk.records or 0 for chunk in chunks)
            row.report = dict(report) if report is not None else row.report

    def reopen(self, replay: str, holder: str | None = None) -> ReplayRun:
        """Reopen a replay that has failed or was cancelled, so that its unfinished chunks run again.

        Args:
            replay: The replay's id.
            holder: The new holder; None: the same one, which can't reopen a cancelled replay.

        Raises:
            RefusedError: another replay has since written the same rows into the same topic; or it was cancelled.
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
        """How many chunks of a job's replays run or are being started."""
        with self._sessions() as session:
            return sum(is_busy(chunk, alive) for chunk in self._begun(session, job))

    def promoted(self, replay: str) -> None:
        """Record that a replay's rows were written into the live topic."""
        with self._sessions.begin() as session:
            session.get_one(ReplayRun, replay).promoted_at = _now()

    def _lock(self, session: Session) -> None:
        if session.get_bind().dialect.name == "postgresql":
            session.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})

    def _open(self, session: Session, replay: ReplayRun) -> None:
        """Reopen a replay that has ended."""
        if replay.outcome is not None:
            refuse_met(session, self.environment, Writes.of(replay.job, replay.plan), ended=replay)
            replay.outcome, replay.ended_at = None, None

    def _pending_slots(self, session: Session, own: ReplayChunk, alive: Collection[str]) -> int:
        query = select(ReplayChunk, ReplayRun.plan["parallelism"].as_integer()).join(ReplayRun)
        query = query.where(ReplayRun.environment == self.environment, ReplayChunk.state.in_(BEGUN))
        return sum(
            int(parallelism or 1)
            for row, parallelism in session.execute(query)
            if row is not own and is_pending(row, alive, own)
        )

    def _begun(self, session: Session, job: str) -> list[ReplayChunk]:
        """The chunks of a job's replays that run or are being started, by the ledger."""
        query = (
            select(ReplayChunk).join(ReplayRun).where(ReplayRun.environment == self.environment, ReplayRun.job == job)
        )
        return list(session.scalars(query.where(ReplayChunk.state.in_(BEGUN))))


def _cancelled(replay: ReplayRun) -> RefusedError:
    return RefusedError(
        f"replay {replay.id[:8]} of {replay.job} was cancelled",
        remedy=f"to go on with it: sluice backfill {replay.job} --resume {replay.id[:8]}",
    )


def _now() -> datetime:
    return datetime.now(UTC)
