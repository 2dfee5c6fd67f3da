"""When a chunk of a replay may start: rules over the ledger's rows of chunks. Pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sluice.ledger.replay_tables import ChunkState, ReplayChunk

_STARTING = timedelta(minutes=5)
"""The longest time from a claim to the submission; after it, the taker counts as dead."""
SUBMITTING = timedelta(seconds=90)
"""How long a Flink job may be unknown to the cluster after its id was chosen: longer than the client's timeout."""
_SETTLING = timedelta(seconds=10)
"""How long the slots of a submitted job may still count as free: longer than a cluster takes to assign them."""


@dataclass(frozen=True)
class ConcurrencyLimits:
    """How many chunks may run at the same time: of one replay, and of all replays of a job."""

    replay: int
    job: int

    def leave_room(self, busy: int, busy_here: int) -> bool:
        """Whether one more chunk may start.

        Args:
            busy: How many chunks of the job run or start.
            busy_here: How many of those belong to the chunk's own replay.
        """
        return busy < self.job and busy_here < self.replay


@dataclass(frozen=True)
class SlotDemand:
    """The task slots that a chunk takes, and those that are free for the chunks of all replays."""

    needed: int
    free: int


@dataclass(frozen=True)
class QueuePosition:
    """What a waiting chunk waits for.

    Attributes:
        is_over: There is nothing to wait for: it has finished, its replay was cancelled, or its Flink job runs.
        may_start: Its limits allow a claim.
        before: How many chunks of its replay with lower numbers wait, too.
        taker: Another taker that has claimed it or has just submitted it; None: there is none.
        busy: How many other chunks of the job's replays run or start.
        busy_here: How many of those belong to its own replay.
    """

    is_over: bool
    may_start: bool
    before: int
    taker: str | None = None
    busy: int = 0
    busy_here: int = 0


def is_claimed(own: ReplayChunk, taker: str, alive: Collection[str], is_gone: Callable[[str], bool]) -> bool:
    """Whether another taker is starting it, or it has a Flink job, or a submitted one may still arrive."""
    if own.state == ChunkState.RUNNING:
        return own.flink_job_id in alive or is_young(own)
    return _is_starting(own) and own.taker != taker and not is_gone(own.taker or "")


def count_busy(own: ReplayChunk, rows: Iterable[ReplayChunk], alive: Collection[str]) -> tuple[int, int]:
    """How many other chunks of a job run or start, and how many of those belong to the same replay."""
    busy = [row for row in rows if row is not own and is_busy(row, alive)]
    return len(busy), sum(row.replay == own.replay for row in busy)


def is_busy(chunk: ReplayChunk, alive: Collection[str]) -> bool:
    """Whether it runs, starts, or was submitted a moment ago."""
    if chunk.state != ChunkState.RUNNING:
        return _is_starting(chunk)
    return chunk.flink_job_id in alive or is_young(chunk)


def is_pending(chunk: ReplayChunk, alive: Collection[str], before: ReplayChunk) -> bool:
    """Whether it is about to take task slots that another chunk, `before`, must leave to it.

    Of two chunks that are being started, the one claimed first gets its slots.
    """
    if chunk.state == before.state == ChunkState.STARTING and _order(chunk) > _order(before):
        return False
    if chunk.state != ChunkState.RUNNING or chunk.flink_job_id not in alive:
        return is_busy(chunk, alive)
    return chunk.began_at is not None and _now() - chunk.began_at < _SETTLING


def _order(chunk: ReplayChunk) -> tuple[datetime, str, int]:
    return chunk.began_at or _now(), chunk.replay, chunk.number


def is_young(chunk: ReplayChunk) -> bool:
    """Whether its Flink job may still arrive at the cluster, if the cluster doesn't know it."""
    return chunk.began_at is not None and _now() - chunk.began_at < SUBMITTING


def _is_starting(chunk: ReplayChunk) -> bool:
    """Whether a taker that may be alive is starting it."""
    return chunk.state == ChunkState.STARTING and chunk.began_at is not None and _now() - chunk.began_at < _STARTING


def _now() -> datetime:
    return datetime.now(UTC)
