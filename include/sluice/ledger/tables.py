"""The ledger's tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Literal

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, Index, String, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

REASON = 4_000
"""Characters that are kept of why something failed."""


class Instant(TypeDecorator[datetime]):
    """A point in time, always UTC: SQLite keeps no zone."""

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


class Base(DeclarativeBase):
    """All tables of the ledger."""

    type_annotation_map = {datetime: Instant(), dict[str, Any]: JSON()}  # noqa: RUF012 - as SQLAlchemy wants it


class Release(Base):
    """A release: one state of a job's code and settings, numbered per job."""

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
    """`DesiredJob.values()`: the settings that it runs with."""
    created_at: Mapped[datetime]
    overrides: Mapped[dict[str, Any]] = mapped_column(default=dict)
    """Settings that a run gave for the job, over the deployment file's."""
    graph: Mapped[str | None] = mapped_column(String(64))
    """Digest of what it compiles to; None: it was never compiled."""
    operators: Mapped[dict[str, Any] | None]
    """What each of its operators computes, by the operator's id (see `sluice.state.operators`); None: not known."""
    meanings: Mapped[dict[str, Any] | None]
    """`state_settings()` of its job; None: it was entered before this was kept."""
    health: Mapped[dict[str, Any] | None]
    """Its job's limits when it was entered; None: it was entered before this was kept."""
    healthy_at: Mapped[datetime | None]
    """When its gate was first passed; None: never."""


class Operation(Base):
    """One deploy (or other change) of one job."""

    __tablename__ = "operations"
    __table_args__ = (
        UniqueConstraint("environment", "active_job"),
        Index("ix_operations_newest", "environment", "job", "started_at", "kind", "outcome"),
    )

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(63))
    active_job: Mapped[str | None] = mapped_column(String(63))
    """The job while the operation goes on, None afterwards: so there is at most one at a time."""
    kind: Mapped[str] = mapped_column(String(20))
    holder: Mapped[str] = mapped_column(String(500))
    token: Mapped[int]
    """Fencing token: grows whenever a process takes the operation; an older one's writes are refused."""
    lease_until: Mapped[datetime]
    release: Mapped[int]
    started_at: Mapped[datetime]
    ended_at: Mapped[datetime | None]
    outcome: Mapped[str | None] = mapped_column(String(20))
    """healthy, unchanged, rolled_back, failed, abandoned; taken: a savepoint; None while it goes on."""
    reason: Mapped[str | None] = mapped_column(String(REASON))
    """Why it failed or was rolled back, and what that meant."""
    former_release: Mapped[int | None]
    """What ran before."""
    mode: Mapped[str | None] = mapped_column(String(20))
    note: Mapped[str | None] = mapped_column(String(1000))
    """The reason that its starter gave."""
    plan: Mapped[dict[str, Any] | None]
    approved_by: Mapped[str | None] = mapped_column(String(500))
    """Who approved that it loses state; None: it needed no approval."""
    approved_at: Mapped[datetime | None]
    flink_job_id: Mapped[str | None] = mapped_column(String(32))
    savepoint: Mapped[str | None] = mapped_column(String(2000))
    """What it took of the job that it stopped."""
    restored_from: Mapped[str | None] = mapped_column(String(2000))
    downtime_ms: Mapped[int | None]
    """From the old job's end until all tasks of the new one ran."""


class JournalEntry(Base):
    """What an operation is about to do or has done; written before each outside effect."""

    __tablename__ = "journal"
    __table_args__ = (UniqueConstraint("operation", "number"),)

    id: Mapped[int] = mapped_column(primary_key=True)
    operation: Mapped[str] = mapped_column(ForeignKey("operations.id"))
    number: Mapped[int]
    stage: Mapped[str] = mapped_column(String(40))
    event: Mapped[str] = mapped_column(String(40))
    data: Mapped[dict[str, Any]]
    at: Mapped[datetime]


Phase = Literal["running", "stopping", "stopped", "suspending", "suspended"]
StopMode = Literal["savepoint", "last-state", "stateless", "cancel"]
"""How a job is stopped: as the mode of its plan says, or by a cancel that takes no state."""


class Placement(Base):
    """Where a job stands: what of it should run, or from which state it is to be started next.

    Written in the same transaction as the journal entry of the effect that follows, so that whoever comes next finds
    either the old state of affairs or the intention:

    running: `flink_job_id` should run (it is being submitted, or was).
    stopping: `flink_job_id` was told to stop as `stop_mode` says, under `trigger_id`.
    stopped: nothing should run; the next start takes `state_path`.
    suspending: as stopping, and nothing is to be started afterwards.
    suspended: as stopped, on purpose.
    """

    __tablename__ = "placements"

    environment: Mapped[str] = mapped_column(String(63), primary_key=True)
    job: Mapped[str] = mapped_column(String(63), primary_key=True)
    phase: Mapped[str] = mapped_column(String(20), default="running")
    release: Mapped[int]
    flink_job_id: Mapped[str] = mapped_column(String(32))
    restored_from: Mapped[str | None] = mapped_column(String(2000))
    """The savepoint or checkpoint that `flink_job_id` was started from."""
    had_checkpoint: Mapped[bool]
    """A checkpoint of its own was seen complete: starting it from anything older would lose state."""
    stop_mode: Mapped[str | None] = mapped_column(String(20))
    trigger_id: Mapped[str | None] = mapped_column(String(32))
    savepoint_directory: Mapped[str | None] = mapped_column(String(2000))
    """Where the stop that goes on puts its savepoint; None: it takes none, or is of a Sluice that did not keep this."""
    state_path: Mapped[str | None] = mapped_column(String(2000))
    positions: Mapped[dict[str, Any] | None]
    """Per topic and partition the next offset of the state that it was, or will be, started from."""
    carried_over: Mapped[bool] = mapped_column(default=False)
    """It was started without state, from the offsets of its group."""
    cluster: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """`Identity.values` of the cluster that `flink_job_id` was submitted to; None: it was not kept then."""
    since: Mapped[datetime]
    forgotten_at: Mapped[datetime | None]
    """When it was taken off the list, since its file was removed; None: never."""

    @property
    def is_forgotten(self) -> bool:
        """Whether it is off the list: no operation has changed it since."""
        return self.forgotten_at is not None and self.forgotten_at >= self.since


class Savepoint(Base):
    """A savepoint that an operation took."""

    __tablename__ = "savepoints"

    id: Mapped[int] = mapped_column(primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(63), index=True)
    path: Mapped[str] = mapped_column(String(2000))
    release: Mapped[int]
    """The release whose state it holds."""
    flink_job_id: Mapped[str] = mapped_column(String(32))
    operation: Mapped[str] = mapped_column(String(32))
    taken_at: Mapped[datetime]
    deleted_at: Mapped[datetime | None]
