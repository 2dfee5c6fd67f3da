"""Refuse replays that would write the same rows to the same topic at the same time."""

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
    """The topics that a replay writes to, and the rows that it writes.

    Attributes:
        job: The job whose history is replayed.
        topics: The output topics.
        start: Begin of its range.
        end: End of its range.
        is_apart: Rows of disjoint ranges have different keys.
    """

    job: str
    topics: frozenset[str]
    start: datetime
    end: datetime
    is_apart: bool

    @classmethod
    def of(cls, job: str, plan: Mapping[str, Any]) -> Writes:
        """The writes of a replay, from its plan in the ledger."""
        start, end = (datetime.fromisoformat(plan[name]) for name in ("start", "end"))
        return cls(job, frozenset(plan["outputs"].values()), start, end, bool(plan.get("is_apart")))

    def conflicts_with(self, other: Writes) -> bool:
        """Whether both replays may write to the same topic rows with the same keys, or rows of different jobs."""
        return bool(self.topics & other.topics) and not self._is_disjoint(other)

    def is_overwritten(self, promoted: Writes) -> bool:
        """Whether a promoted replay of the same job has written rows with the same keys."""
        return self.job == promoted.job and not self._is_disjoint(promoted)

    def _is_disjoint(self, other: Writes) -> bool:
        is_apart = self.job == other.job and self.is_apart and other.is_apart
        return is_apart and (self.end <= other.start or other.end <= self.start)


def refuse_write_conflict(session: Session, environment: str, writes: Writes, ended: ReplayRun | None = None) -> None:
    """Refuse a replay whose rows could not be distinguished from those of another replay in the same topic.

    Args:
        session: A session of the ledger.
        environment: The name of the environment.
        writes: What the replay writes.
        ended: The replay itself, if it had ended and is continued: then replays that have written since it began count
            as well, because it would overwrite their newer rows. None: a new replay.

    Raises:
        RefusedError: another replay writes, or has written, the same rows.
    """
    of_chunks = select(ReplayChunk.replay).where(ReplayChunk.replay == ReplayRun.id)
    in_progress = or_(ReplayRun.outcome.is_(None), of_chunks.where(ReplayChunk.state.in_(BEGUN)).exists())
    query = select(ReplayRun).where(ReplayRun.environment == environment)
    is_into_live = ended is not None and ended.plan.get("output") == "live"
    if ended is None:
        query = query.where(in_progress)
    else:
        last = func.coalesce(ReplayChunk.ended_at, ReplayChunk.began_at)
        has_written = of_chunks.where(ReplayChunk.attempt > 0, last > ended.started_at).exists()
        is_newer = or_(has_written, ReplayRun.promoted_at > ended.started_at)
        query = query.where(ReplayRun.id != ended.id, or_(in_progress, is_newer))
    for other in session.scalars(query.order_by(ReplayRun.started_at)):
        theirs = Writes.of(other.job, other.plan)
        is_over = is_into_live and other.promoted_at is not None and writes.is_overwritten(theirs)
        if not is_over and not writes.conflicts_with(theirs):
            continue
        topics = ", ".join(sorted(writes.topics & theirs.topics or writes.topics))
        if ended is not None:
            raise RefusedError(
                f"replay {ended.id[:8]} of {ended.job} can't be continued: replay {other.id[:8]} of {other.job} may "
                f"have written the same rows to {topics} since",
                remedy="start a new replay",
            )
        raise RefusedError(
            f"replay {other.id[:8]} of {other.job} is in progress and may write the same rows to {topics}",
            remedy=f"let it finish (sluice backfill {other.job} --resume {other.id[:8]}), cancel it (the same with "
            "--cancel), or choose another topic",
        )
