"""Samples: what each sweep of the fleet has seen of each job, kept for some time."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, String, delete, func, select
from sqlalchemy.orm import Mapped, Session, mapped_column, sessionmaker

from sluice.ledger.tables import Base


class Sample(Base):
    """What one sweep has seen of one job. NULL: not known. The last sample is what the next one is compared with."""

    __tablename__ = "samples"
    __table_args__ = (
        Index("ix_samples_job", "environment", "job", "at"),
        Index("ix_samples_curves", "environment", "at", "job", "consumer_lag", "watermark_lag_ms"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(255))
    """Its name; a job that nobody declares may have any."""
    at: Mapped[datetime]
    """When the sweep began: the same for all its samples."""
    flink_job_id: Mapped[str | None] = mapped_column(String(32))
    release: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(20))
    """As `sluice status` shows it."""
    verdict: Mapped[str] = mapped_column(String(20))
    reasons: Mapped[list[str]] = mapped_column(JSON)
    consumer_lag: Mapped[int | None] = mapped_column(BigInteger)
    """Records, over all partitions."""
    lag_per_s: Mapped[float | None]
    """Records per second by which the lag rises; negative: it falls."""
    watermark_lag_ms: Mapped[int | None] = mapped_column(BigInteger)
    records_in_per_s: Mapped[float | None]
    records_out_per_s: Mapped[float | None]
    dead_letters_per_min: Mapped[float | None]
    malformed_per_s: Mapped[float | None]
    """Records that break the contract of a read."""
    late_per_s: Mapped[float | None]
    """Records and rows that are left out for their event time."""
    checkpoint_age_ms: Mapped[int | None] = mapped_column(BigInteger)
    checkpoint_duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    checkpoint_bytes: Mapped[int | None] = mapped_column(BigInteger)
    restarts: Mapped[int | None]
    """Since the job was submitted."""
    recent_restarts: Mapped[int | None]
    """In the last ten minutes."""
    drift: Mapped[bool | None]
    """The job differed from the release that ran."""
    readings: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """The rest, by partition and vertex; None: nothing could be read."""
    run: Mapped[str | None] = mapped_column(String(255))
    """Which run of redeploy_and_verify has looked; None: a person."""


@dataclass(frozen=True)
class Look:
    """What a run of redeploy_and_verify has seen of one job, in short."""

    at: datetime
    run: str
    verdict: str
    flink_job_id: str | None


class Samples:
    """The samples of one environment.

    Args:
        sessions: The ledger's.
        environment: Whose samples.
    """

    def __init__(self, sessions: sessionmaker[Session], environment: str) -> None:
        self._sessions = sessions
        self.environment = environment

    def add(self, samples: Iterable[Sample], *, older_than: datetime) -> int:
        """Write the samples of a sweep and forget what is older than that moment, in one transaction.

        Returns:
            How many were forgotten.
        """
        with self._sessions.begin() as session:
            session.add_all(samples)
            old = delete(Sample).where(Sample.environment == self.environment, Sample.at < older_than)
            return int(session.execute(old).rowcount)  # type: ignore[attr-defined]  # a DELETE's result has it

    def newest(self, since: datetime) -> dict[str, Sample]:
        """The newest sample with readings of each job that is not older than that moment, by the job's name."""
        newest = (
            select(func.max(Sample.id))
            .where(Sample.environment == self.environment, Sample.at >= since, Sample.readings.is_not(None))
            .group_by(Sample.job)
        )
        with self._sessions() as session:
            found = session.scalars(select(Sample).where(Sample.id.in_(newest)))
            return {sample.job: sample for sample in found}

    def last_sweep(self) -> list[Sample]:
        """What the last sweep has seen, in the order of the jobs' names; empty: there was none."""
        last = select(func.max(Sample.at)).where(Sample.environment == self.environment).scalar_subquery()
        query = select(Sample).where(Sample.environment == self.environment, Sample.at == last)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Sample.job)))

    def looks(self, job: str, limit: int) -> list[Look]:
        """The newest looks that runs of redeploy_and_verify have taken at a job, newest first."""
        query = (
            select(Sample.at, Sample.run, Sample.verdict, Sample.flink_job_id)
            .where(Sample.environment == self.environment, Sample.job == job, Sample.run.is_not(None))
            .order_by(Sample.at.desc(), Sample.id.desc())
        )
        with self._sessions() as session:
            return [
                Look(at, run or "", verdict, flink_job_id)
                for at, run, verdict, flink_job_id in session.execute(query.limit(limit))
            ]

    def last_run(self) -> datetime | None:
        """When a run of redeploy_and_verify has looked last; None: none has."""
        query = select(func.max(Sample.at)).where(Sample.environment == self.environment, Sample.run.is_not(None))
        with self._sessions() as session:
            return session.scalars(query).first()

    def last_of(self, job: str, limit: int) -> list[Sample]:
        """A job's newest samples, oldest first."""
        query = select(Sample).where(Sample.environment == self.environment, Sample.job == job)
        with self._sessions() as session:
            found = list(session.scalars(query.order_by(Sample.at.desc(), Sample.id.desc()).limit(limit)))
        return found[::-1]

    def of(self, job: str, since: datetime, until: datetime | None = None) -> list[Sample]:
        """A job's samples between two moments, oldest first."""
        query = select(Sample).where(Sample.environment == self.environment, Sample.job == job, Sample.at >= since)
        if until is not None:
            query = query.where(Sample.at <= until)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Sample.at)))
