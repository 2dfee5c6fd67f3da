"""The tables of replays and their chunks."""

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
    """A replay: a range of event time that is processed again with a release of the job."""

    __tablename__ = "replays"
    __table_args__ = (Index("ix_replays_job", "environment", "job", "started_at"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(63))
    holder: Mapped[str] = mapped_column(String(500))
    """The run or process that performs it: a retry of the same holder continues the same replay."""
    release: Mapped[int]
    plan: Mapped[dict[str, Any]]
    """`ReplayPlan`: range, chunks, output topics, settings."""
    note: Mapped[str | None] = mapped_column(String(1000))
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(20))
    """completed, failed, cancelled; None while it is in progress."""
    records: Mapped[int | None] = mapped_column(BigInteger)
    """Number of records read, set when the replay has ended."""
    report: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The result of the comparison with the live output."""
    promoted_at: Mapped[datetime | None]
    """When its rows were written to the live topic; None: never."""


class ReplayChunk(Base):
    """One chunk of a replay, which runs as a separate Flink job."""

    __tablename__ = "replay_chunks"

    replay: Mapped[str] = mapped_column(ForeignKey("replays.id"), primary_key=True)
    number: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str] = mapped_column(String(255))
    """The name of its Flink job."""
    state: Mapped[str] = mapped_column(String(20))
    """waiting; starting: `taker` compiles it; running as `flink_job_id`; finished, failed, cancelled."""
    taker: Mapped[str | None] = mapped_column(String(500))
    """The process that starts the chunk, or that took it over from another one."""
    flink_job_id: Mapped[str | None] = mapped_column(String(32))
    """The Flink job id; recorded before the submission."""
    cluster: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """`Identity.values` of the cluster that it is submitted to; None: from before this was recorded."""
    attempt: Mapped[int]
    records: Mapped[int | None] = mapped_column(BigInteger)
    """Number of records read so far."""
    reason: Mapped[str | None] = mapped_column(String(REASON))
    """The reason of the failure."""
    began_at: Mapped[datetime | None]
    ended_at: Mapped[datetime | None]
