"""The ledger's tables."""

from __future__ import annotations

from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, String, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

from sluice.errors import ConfigError
from sluice.ledger.values import Outcome, Phase, StopMode

REASON = 4_000
"""Maximum length of a stored failure reason, in characters."""


class Instant(TypeDecorator[datetime]):
    """A point in time, always in UTC, because SQLite stores no time zone."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """To the database."""
        return value.astimezone(UTC) if value else None

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:  # noqa: ARG002
        """From the database."""
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


Value = TypeVar("Value", bound=StrEnum)


class Text(TypeDecorator[Value]):
    """An enum of texts, stored as its text. A new value needs a migration, which earlier versions refuse.

    Args:
        values: The enum.
        length: The column's length.
    """

    impl = String
    cache_ok = True

    def __init__(self, values: type[Value], length: int = 20) -> None:
        super().__init__(length)
        self.values = values

    def process_bind_param(self, value: Value | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """To the database."""
        return None if value is None else self.values(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> Value | None:  # noqa: ARG002
        """From the database."""
        if value is None:
            return None
        try:
            return self.values(value)
        except ValueError:
            raise ConfigError(
                f"the ledger holds the {self.values.__name__.lower()} {value!r}, which this Sluice does not know",
                remedy="run the same version of Sluice everywhere",
            ) from None


class Base(DeclarativeBase):
    """All tables of the ledger."""

    type_annotation_map = {datetime: Instant(), dict[str, Any]: JSON()}  # noqa: RUF012 - as SQLAlchemy wants it


class Release(Base):
    """A release: a version of a job's code and settings, numbered per job."""

    __tablename__ = "releases"
    __table_args__ = (UniqueConstraint("environment", "job", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(63))
    number: Mapped[int]
    fingerprint: Mapped[str] = mapped_column(String(64))
    artifact: Mapped[str] = mapped_column(String(64))
    module: Mapped[str] = mapped_column(String(255))
    resolved: Mapped[dict[str, Any]]
    """`DesiredJob.values()`: the settings that the release runs with."""
    created_at: Mapped[datetime]
    overrides: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Settings given for runs, which replace the deployment file's."""
    graph: Mapped[str | None] = mapped_column(String(64))
    """Digest of the compiled graph; None: it was never compiled."""
    operators: Mapped[dict[str, Any] | None]
    """What each operator computes, by operator id (see `sluice.state.operators`); None: unknown."""
    meanings: Mapped[dict[str, Any] | None]
    """`state_settings()` of the job; None: from before this was recorded."""
    health: Mapped[dict[str, Any] | None]
    """The job's health limits when the release was recorded; None: from before they were recorded."""
    healthy_at: Mapped[datetime | None]
    """When the release first passed its gates; None: never."""


class Operation(Base):
    """An operation on a job: a deploy, rollback, suspend, resume or savepoint."""

    __tablename__ = "operations"
    __table_args__ = (
        UniqueConstraint("environment", "active_job"),
        Index("ix_operations_newest", "environment", "job", "started_at", "kind", "outcome"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(63))
    active_job: Mapped[str | None] = mapped_column(String(63))
    """The job while the operation is in progress, then None. Unique, so that a job has one operation at a time."""
    kind: Mapped[str] = mapped_column(String(20))
    holder: Mapped[str] = mapped_column(String(500))
    token: Mapped[int]
    """Fencing token: incremented whenever a process begins or continues the operation; writes with an older token are
    refused."""
    lease_until: Mapped[datetime]
    release: Mapped[int]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[Outcome | None] = mapped_column(Text(Outcome))
    """healthy, unchanged, rolled_back, failed, abandoned; taken: a savepoint; None while it is in progress."""
    reason: Mapped[str | None] = mapped_column(String(REASON))
    """Why it failed or was rolled back, and the consequences."""
    former_release: Mapped[int | None]
    """The release that ran before."""
    mode: Mapped[str | None] = mapped_column(String(20))
    note: Mapped[str | None] = mapped_column(String(1000))
    """The note that was given with the command."""
    plan: Mapped[dict[str, Any] | None]
    approved_by: Mapped[str | None] = mapped_column(String(500))
    """The person who approved the plan; None: it needed no approval."""
    approved_at: Mapped[datetime | None]
    flink_job_id: Mapped[str | None] = mapped_column(String(32))
    savepoint: Mapped[str | None] = mapped_column(String(2000))
    """Path of the savepoint with which it stopped the job."""
    restored_from: Mapped[str | None] = mapped_column(String(2000))
    downtime_ms: Mapped[int | None]
    """Time from the end of the old job until all tasks of the new one run."""


class JournalEntry(Base):
    """An entry of an operation's journal: written before each effect on Flink or Kafka, and after it."""

    __tablename__ = "journal"
    __table_args__ = (UniqueConstraint("operation", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(ForeignKey("operations.id"))
    number: Mapped[int]
    stage: Mapped[str] = mapped_column(String(40))
    event: Mapped[str] = mapped_column(String(40))
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]


class Placement(Base):
    """Where a job should run, or the state from which it starts next.

    It is written in the same transaction as the journal entry for the effect that follows. So after a crash the next
    process finds either the earlier phase or the intended one:

    running: `flink_job_id` should run (its submission may be in progress).
    stopping: `flink_job_id` is being stopped with `stop_mode`, under `trigger_id`.
    stopped: no Flink job should run; the next start restores `state_path`.
    suspending: as stopping, and the job stays down afterwards.
    suspended: as stopped, at a user's request.
    """

    __tablename__ = "placements"

    environment: Mapped[str] = mapped_column(String(63), primary_key=True)
    job: Mapped[str] = mapped_column(String(63), primary_key=True)
    phase: Mapped[Phase] = mapped_column(Text(Phase), default=Phase.RUNNING)
    release: Mapped[int]
    flink_job_id: Mapped[str] = mapped_column(String(32))
    restored_from: Mapped[str | None] = mapped_column(String(2000))
    """The savepoint or checkpoint that `flink_job_id` was started from."""
    had_checkpoint: Mapped[bool]
    """Whether `flink_job_id` has completed a checkpoint: a start from older state would lose state."""
    stop_mode: Mapped[StopMode | None] = mapped_column(Text(StopMode))
    trigger_id: Mapped[str | None] = mapped_column(String(32))
    savepoint_directory: Mapped[str | None] = mapped_column(String(2000))
    """Target directory of the savepoint of a stop in progress; None: no savepoint, or from before this was recorded."""
    state_path: Mapped[str | None] = mapped_column(String(2000))
    positions: Mapped[dict[str, Any] | None]
    """Next offset by topic and partition, in the state that the job was, or will be, started from."""
    carried_over: Mapped[bool] = mapped_column(default=False)
    """Whether it was started without state, from the committed offsets of its consumer group."""
    cluster: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """`Identity.values` of the cluster that `flink_job_id` was submitted to; None: from before this was recorded."""
    since: Mapped[datetime]
    forgotten_at: Mapped[datetime | None]
    """When the job was forgotten, after its file was removed; None: never."""

    @property
    def is_forgotten(self) -> bool:
        """Whether the job is forgotten, and no operation has changed it since."""
        return self.forgotten_at is not None and self.forgotten_at >= self.since


class Savepoint(Base):
    """A savepoint that an operation has taken."""

    __tablename__ = "savepoints"

    id: Mapped[int] = mapped_column(primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(63), index=True)
    path: Mapped[str] = mapped_column(String(2000))
    release: Mapped[int]
    """The release that wrote it."""
    flink_job_id: Mapped[str] = mapped_column(String(32))
    operation: Mapped[str] = mapped_column(String(32))
    taken_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
