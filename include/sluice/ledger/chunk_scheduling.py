"""The rules by which the chunks of replays are started, as pure functions of the ledger's rows."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluice.ledger.replay_tables import ChunkState, ReplayChunk

_STARTING = timedelta(minutes=5)
"""Time for compiling and submitting a chunk; a process that holds a chunk for longer is considered dead."""
SUBMITTING = timedelta(seconds=90)
"""Time after the choice of a Flink job id in which the cluster may not know it yet: above the submission timeout."""
_SETTLING = timedelta(seconds=10)
"""Time after that in which the slots of the Flink job may still count as free: above what slot allocation takes."""


@dataclass(frozen=True)
class ChunkLimits:
    """The maximum number of chunks that run at the same time: per replay, and over all replays of a job."""

    replay: int
    job: int

    def leave_room(self, busy: int, busy_here: int) -> bool:
        """Whether a further chunk may start while `busy` chunks of the job, `busy_here` of its replay, are running."""
        return busy < self.job and busy_here < self.replay


@dataclass(frozen=True)
class SlotDemand:
    """The task slots that a chunk needs, and the slots that are free for the chunks of all replays."""

    needed: int
    free: int


@dataclass(frozen=True)
class QueuePosition:
    """The position of a chunk in the queue of chunks.

    Attributes:
        is_over: The chunk needs no start: it has finished, its replay was cancelled, or its Flink job runs.
        may_start: The limits allow to start it now.
        before: The number of waiting chunks of its replay with lower numbers.
        taker: The process that is starting it, or has just submitted it; None: no process is.
        busy: How many other chunks of the job's replays are running or starting; see `claim`.
        busy_here: How many of those belong to its own replay.
    """

    is_over: bool
    may_start: bool
    before: int
    taker: str | None = None
    busy: int = 0
    busy_here: int = 0


def is_claimed(
    own: ReplayChunk, taker: str, alive: Collection[str], is_gone: Callable[[str], bool], now: datetime
) -> bool:
    """Whether another process is starting the chunk, or its Flink job runs or may appear in a moment."""
    if own.state == ChunkState.RUNNING:
        return own.flink_job_id in alive or is_young(own, now)
    return _is_starting(own, now) and own.taker != taker and not is_gone(own.taker or "")


def count_busy(own: ReplayChunk, rows: Iterable[ReplayChunk], alive: Collection[str], now: datetime) -> tuple[int, int]:
    """How many other chunks of a job are running or starting, and how many of those belong to the same replay."""
    busy = [row for row in rows if row is not own and is_busy(row, alive, now)]
    return len(busy), sum(row.replay == own.replay for row in busy)


def is_busy(chunk: ReplayChunk, alive: Collection[str], now: datetime) -> bool:
    """Whether the chunk is running or starting."""
    if chunk.state != ChunkState.RUNNING:
        return _is_starting(chunk, now)
    return chunk.flink_job_id in alive or is_young(chunk, now)


def is_pending(chunk: ReplayChunk, alive: Collection[str], before: ReplayChunk, now: datetime) -> bool:
    """Whether the chunk will take slots before the chunk `before` does: of two that start, the earlier goes first."""
    if chunk.state == before.state == ChunkState.STARTING and _order(chunk, now) > _order(before, now):
        return False
    if chunk.state != ChunkState.RUNNING or chunk.flink_job_id not in alive:
        return is_busy(chunk, alive, now)
    return chunk.began_at is not None and now - chunk.began_at < _SETTLING


def _order(chunk: ReplayChunk, now: datetime) -> tuple[datetime, str, int]:
    return chunk.began_at or now, chunk.replay, chunk.number


def is_young(chunk: ReplayChunk, now: datetime) -> bool:
    """Whether the submission of its Flink job may still be in progress, if the cluster doesn't know the job."""
    return chunk.began_at is not None and now - chunk.began_at < SUBMITTING


def _is_starting(chunk: ReplayChunk, now: datetime) -> bool:
    """Whether a process that may be alive is starting the chunk."""
    return chunk.state == ChunkState.STARTING and chunk.began_at is not None and now - chunk.began_at < _STARTING
