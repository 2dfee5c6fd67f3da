"""The ledger's tables."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from sqlalchemy import JSON, DateTime, Dialect, ForeignKey, String, TypeDecorator, UniqueConstraint
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column


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
    healthy_at: Mapped[datetime | None]
    """When its gate was first passed; None: never."""


class Operation(Base):
    """One deploy (or other change) of one job."""

    __tablename__ = "operations"
    __table_args__ = (UniqueConstraint("environment", "active_job"),)

    id: Mapped[str] = mapped_column(String(32), primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(63), index=True)
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
    """healthy, unchanged, rolled_back, failed, abandoned; None while it goes on."""
    reason: Mapped[str | None] = mapped_column(String(4000))


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


class Running(Base):
    """What should run: per job the release and the Flink job id that it was given."""

    __tablename__ = "running"

    environment: Mapped[str] = mapped_column(String(63), primary_key=True)
    job: Mapped[str] = mapped_column(String(63), primary_key=True)
    release: Mapped[int]
    flink_job_id: Mapped[str] = mapped_column(String(32))
    restored_from: Mapped[str | None] = mapped_column(String(2000))
    """The savepoint or checkpoint that it was started from."""
    had_checkpoint: Mapped[bool]
    """A checkpoint of it was seen complete: starting it without state again would lose that."""
    since: Mapped[datetime]
