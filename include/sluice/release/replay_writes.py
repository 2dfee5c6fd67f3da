"""Where replays write: two that would write the same rows into one topic don't go on side by side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, or_, select
from sqlalchemy.orm import Session

from sluice.errors import RefusedError
from sluice.release.replay_tables import BEGUN, Replay, ReplayChunk


@dataclass(frozen=True)
class Writes:
    """Where a replay writes, and which rows.

    Attributes:
        topics: The topics.
        start: Where its range begins.
        end: Where it ends.
        is_apart: Rows of another range have other keys.
    """

    topics: frozenset[str]
    start: datetime
    end: datetime
    is_apart: bool

    @classmethod
    def of(cls, plan: Mapping[str, Any]) -> Writes:
        """Of a replay, by the plan that the ledger keeps."""
        start, end = (datetime.fromisoformat(plan[name]) for name in ("start", "end"))
        return cls(frozenset(plan["outputs"].values()), start, end, bool(plan.get("is_apart")))

    def meets(self, other: Writes) -> bool:
        """Whether the two write rows of the same keys into one topic."""
        is_elsewhen = self.is_apart and other.is_apart and (self.end <= other.start or other.end <= self.start)
        return bool(self.topics & other.topics) and not is_elsewhen


def refuse_met(session: Session, environment: str, writes: Writes, ended: Replay | None = None) -> None:
    """Refuse a replay whose rows nobody could tell from those of another one in the same topic.

    Args:
        session: Of the ledger.
        environment: Whose replays count.
        writes: What the replay writes.
        ended: The replay, where it had ended and is to go on: what others have written since then is newer than what it
            has written; None: it is about to begin.

    Raises:
        RefusedError: there is another one.
    """
    of_chunks = select(ReplayChunk.replay).where(ReplayChunk.replay == Replay.id)
    goes_on = or_(Replay.outcome.is_(None), of_chunks.where(ReplayChunk.state.in_(BEGUN)).exists())
    query = select(Replay).where(Replay.environment == environment)
    if ended is None:
        query = query.where(goes_on)
    else:
        is_newer = and_(Replay.started_at > ended.started_at, of_chunks.where(ReplayChunk.attempt > 0).exists())
        query = query.where(Replay.id != ended.id, or_(goes_on, is_newer))
    for other in session.scalars(query.order_by(Replay.started_at)):
        theirs = Writes.of(other.plan)
        if not writes.meets(theirs):
            continue
        topics = ", ".join(sorted(writes.topics & theirs.topics))
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
