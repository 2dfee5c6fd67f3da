"""The tables of replays and their chunks."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import JSON, BigInteger, Enum, ForeignKey, Index, String
from sqlalchemy.orm import Mapped, mapped_column

from sluice.ledger.tables import REASON, Base


class ReplayOutcome(StrEnum):
    """How a replay ended. The ledger and the JSON output keep these values."""

    COMPLETED = "completed"
    """All chunks finished, and the report exists."""
    FAILED = "failed"
    """A chunk failed or the run ended early; the replay can be resumed."""
    CANCELLED = "cancelled"
    """A person cancelled it, or a retry planned another one in its place."""


class ChunkState(StrEnum):
    """The state of a chunk. The ledger keeps these values."""

    WAITING = "waiting"
    """No task or process has claimed it."""
    STARTING = "starting"
    """`ReplayChunk.taker` has claimed it and compiles it."""
    RUNNING = "running"
    """Its Flink job id is chosen: it may have been submitted under `ReplayChunk.flink_job_id`."""
    FINISHED = "finished"
    FAILED = "failed"
    CANCELLED = "cancelled"


BEGUN = (ChunkState.STARTING, ChunkState.RUNNING)
"""States of a chunk that has a Flink job, or may get one in a moment."""


def _column(kind: type[StrEnum]) -> Enum:
    """Text that holds the enum's values, as the migrations created it."""
    return Enum(kind, native_enum=False, length=20, values_callable=lambda enum: [member.value for member in enum])


class ReplayRun(Base):
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
    outcome: Mapped[ReplayOutcome | None] = mapped_column(_column(ReplayOutcome))
    """None while it is in progress."""
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
    state: Mapped[ChunkState] = mapped_column(_column(ChunkState))
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
