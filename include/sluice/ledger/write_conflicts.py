"""Where replays write: two that would write the same rows into one topic don't go on side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import func, or_, select
from sqlalchemy.orm import Session

from sluice.errors import RefusedError
from sluice.ledger.replay_tables import BEGUN, ReplayChunk, ReplayRun


@dataclass(frozen=True)
class Writes:
    """Where a replay writes, and which rows.

    Attributes:
        job: Whose history it replays.
        topics: The topics.
        start: Where its range begins.
        end: Where it ends.
        is_apart: Rows of another range have other keys.
    """

    job: str
    topics: frozenset[str]
    start: datetime
    end: datetime
    is_apart: bool

    @classmethod
    def of(cls, job: str, plan: Mapping[str, Any]) -> Writes:
        """Of a replay, by the plan that the ledger keeps."""
        start, end = (datetime.fromisoformat(plan[name]) for name in ("start", "end"))
        return cls(job, frozenset(plan["outputs"].values()), start, end, bool(plan.get("is_apart")))

    def meets(self, other: Writes) -> bool:
        """Whether the two may write rows of the same keys into one topic, or such as the other one can't read."""
        return bool(self.topics & other.topics) and not self._is_elsewhen(other)

    def is_overwritten(self, promoted: Writes) -> bool:
        """Whether another replay of the job, whose rows were promoted, has given rows of the same keys."""
        return self.job == promoted.job and not self._is_elsewhen(promoted)

    def _is_elsewhen(self, other: Writes) -> bool:
        is_apart = self.job == other.job and self.is_apart and other.is_apart
        return is_apart and (self.end <= other.start or other.end <= self.start)


def refuse_met(session: Session, environment: str, writes: Writes, ended: ReplayRun | None = None) -> None:
    """Refuse a replay whose rows nobody could tell from those of another one in the same topic.

    Args:
        session: Of the ledger.
        environment: Whose replays count.
        writes: What the replay writes.
        ended: The replay, where it had ended and is to go on: what others have written since it began is newer than
            what it has written, or stands among it; None: it is about to begin.

    Raises:
        RefusedError: there is another one.
    """
    of_chunks = select(ReplayChunk.replay).where(ReplayChunk.replay == ReplayRun.id)
    goes_on = or_(ReplayRun.outcome.is_(None), of_chunks.where(ReplayChunk.state.in_(BEGUN)).exists())
    query = select(ReplayRun).where(ReplayRun.environment == environment)
    is_into_live = ended is not None and ended.plan.get("output") == "live"
    if ended is None:
        query = query.where(goes_on)
    else:
        last = func.coalesce(ReplayChunk.ended_at, ReplayChunk.began_at)
        has_written = of_chunks.where(ReplayChunk.attempt > 0, last > ended.started_at).exists()
        is_newer = or_(has_written, ReplayRun.promoted_at > ended.started_at)
        query = query.where(ReplayRun.id != ended.id, or_(goes_on, is_newer))
    for other in session.scalars(query.order_by(ReplayRun.started_at)):
        theirs = Writes.of(other.job, other.plan)
        is_over = is_into_live and other.promoted_at is not None and writes.is_overwritten(theirs)
        if not is_over and not writes.meets(theirs):
            continue
        topics = ", ".join(sorted(writes.topics & theirs.topics or writes.topics))
        if ended is not None:
            raise RefusedError(
                f"replay {ended.id[:8]} of {ended.job} can't go on: replay {other.id[:8]} of {other.job} may have "
                f"written the same rows into {topics} since",
                remedy="start a new one",
            )
        raise RefusedError(
            f"replay {other.id[:8]} of {other.job} goes on, and may write the same rows into {topics}: nobody could "
            "tell them apart",
            remedy=f"let it finish (sluice backfill {other.job} --resume {other.id[:8]}), end it (the same with "
            "--cancel), or name another topic",
        )
