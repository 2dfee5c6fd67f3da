"""The tables of replays: which parts of a job's history were run again, chunk by chunk, and what came of them."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Literal

from sqlalchemy import JSON, BigInteger, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from sluice.ledger.tables import REASON, Base

ReplayOutcome = Literal["completed", "failed", "cancelled"]
ChunkState = Literal["waiting", "starting", "running", "finished", "failed", "cancelled"]
BEGUN: tuple[ChunkState, ...] = ("starting", "running")


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
    cluster: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """`Identity.values` of the cluster that it is submitted to; None: it was not kept then."""
    attempt: Mapped[int]
    records: Mapped[int | None] = mapped_column(BigInteger)
    """How many it has read so far."""
    reason: Mapped[str | None] = mapped_column(String(REASON))
    """Why it failed."""
    began_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
