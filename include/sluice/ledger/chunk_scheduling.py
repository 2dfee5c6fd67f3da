"""Which chunk of a replay may be started when: the rules, over what the ledger has of them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from sluice.ledger.replay_tables import ReplayChunk

_STARTING = timedelta(minutes=5)
"""How long a chunk may be compiled and submitted; who has taken it for longer is taken for dead."""
SUBMITTING = timedelta(seconds=90)
"""How long the cluster may not know a Flink job whose id was chosen: longer than a client is given to submit it."""
_SETTLING = timedelta(seconds=10)
"""How long after that the slots of a Flink job may still count as free: longer than a cluster takes to give them."""


@dataclass(frozen=True)
class Limits:
    """How many chunks may run side by side: of one replay, and of all replays of a job."""

    replay: int
    job: int

    def leave_room(self, busy: int, busy_here: int) -> bool:
        """Whether one more may, beside so many of the job's, and of those so many of its own replay."""
        return busy < self.job and busy_here < self.replay


@dataclass(frozen=True)
class Slots:
    """The task slots that a chunk takes, and those that are free for chunks: of all replays together."""

    needed: int
    free: int


@dataclass(frozen=True)
class Turn:
    """Where a chunk that waits stands.

    Attributes:
        is_over: There is nothing to wait for: it has finished, its replay was cancelled, or its Flink job is there.
        has_come: It could be taken, as far as its limits go.
        before: How many chunks of its replay with lower numbers wait as well.
        taker: Who else is about to start it, or has just submitted it; None: nobody.
        busy: How many other chunks of the job's replays run, or are being started; see `take_turn`.
        busy_here: How many of those are of its own replay.
    """

    is_over: bool
    has_come: bool
    before: int
    taker: str | None = None
    busy: int = 0
    busy_here: int = 0


def is_taken(own: ReplayChunk, taker: str, alive: Collection[str], is_gone: Callable[[str], bool]) -> bool:
    """Somebody else is starting it, or it has a Flink job, or may have one in a moment."""
    if own.state == "running":
        return own.flink_job_id in alive or is_young(own)
    return _is_starting(own) and own.taker != taker and not is_gone(own.taker or "")


def count_busy(own: ReplayChunk, rows: Iterable[ReplayChunk], alive: Collection[str]) -> tuple[int, int]:
    """How many other chunks of a job run or are on their way, and how many of those are of the same replay."""
    busy = [row for row in rows if row is not own and is_busy(row, alive)]
    return len(busy), sum(row.replay == own.replay for row in busy)


def is_busy(chunk: ReplayChunk, alive: Collection[str]) -> bool:
    """It runs, or is on its way."""
    if chunk.state != "running":
        return _is_starting(chunk)
    return chunk.flink_job_id in alive or is_young(chunk)


def is_pending(chunk: ReplayChunk, alive: Collection[str], before: ReplayChunk) -> bool:
    """It is about to take task slots, ahead of another one: what is being started later waits for that one."""
    if chunk.state == before.state == "starting" and _order(chunk) > _order(before):
        return False
    if chunk.state != "running" or chunk.flink_job_id not in alive:
        return is_busy(chunk, alive)
    return chunk.began_at is not None and _now() - chunk.began_at < _SETTLING


def _order(chunk: ReplayChunk) -> tuple[datetime, str, int]:
    return chunk.began_at or _now(), chunk.replay, chunk.number


def is_young(chunk: ReplayChunk) -> bool:
    """Its Flink job, where the cluster doesn't know it, may be on its way."""
    return chunk.began_at is not None and _now() - chunk.began_at < SUBMITTING


def _is_starting(chunk: ReplayChunk) -> bool:
    """By somebody who may be alive."""
    return chunk.state == "starting" and chunk.began_at is not None and _now() - chunk.began_at < _STARTING


def _now() -> datetime:
    return datetime.now(UTC)
