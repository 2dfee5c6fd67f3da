"""Samples: the state and metrics of each job at each sweep, kept for `SLUICE_SAMPLE_DAYS`."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import JSON, BigInteger, Index, String, delete, func, select
from sqlalchemy.orm import Mapped, mapped_column

from sluice.ledger.store import Store
from sluice.ledger.tables import Base


class Sample(Base):
    """The state and metrics of a job at one sweep. NULL: unknown. The next sweep computes rates against it."""

    __tablename__ = "samples"
    __table_args__ = (
        Index("ix_samples_job", "environment", "job", "at"),
        Index("ix_samples_curves", "environment", "at", "job", "consumer_lag", "watermark_lag_ms"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    environment: Mapped[str] = mapped_column(String(63))
    job: Mapped[str] = mapped_column(String(255))
    """The job's name; a job that the project doesn't declare may have any name."""
    at: Mapped[datetime]
    """When the sweep began; equal for all its samples."""
    flink_job_id: Mapped[str | None] = mapped_column(String(32))
    release: Mapped[int | None]
    state: Mapped[str] = mapped_column(String(20))
    """As `sluice status` shows it."""
    verdict: Mapped[str] = mapped_column(String(20))
    reasons: Mapped[list[str]] = mapped_column(JSON)
    consumer_lag: Mapped[int | None] = mapped_column(BigInteger)
    """Records, summed over all partitions."""
    lag_per_s: Mapped[float | None]
    """Growth of the lag in records per second; negative: it shrinks."""
    watermark_lag_ms: Mapped[int | None] = mapped_column(BigInteger)
    records_in_per_s: Mapped[float | None]
    records_out_per_s: Mapped[float | None]
    dead_letters_per_min: Mapped[float | None]
    malformed_per_s: Mapped[float | None]
    """Records that break the contract of a read."""
    late_per_s: Mapped[float | None]
    """Records and rows that are dropped for their event time."""
    checkpoint_age_ms: Mapped[int | None] = mapped_column(BigInteger)
    checkpoint_duration_ms: Mapped[int | None] = mapped_column(BigInteger)
    checkpoint_bytes: Mapped[int | None] = mapped_column(BigInteger)
    restarts: Mapped[int | None]
    """Since the job was submitted."""
    recent_restarts: Mapped[int | None]
    """In the last ten minutes."""
    drift: Mapped[bool | None]
    """Whether the desired job differed from the running release."""
    readings: Mapped[dict[str, Any] | None] = mapped_column(JSON(none_as_null=True))
    """Further metrics by partition and vertex; None: none could be read."""
    run: Mapped[str | None] = mapped_column(String(255))
    """The run of redeploy_and_verify that made the sample; None: a command."""


@dataclass(frozen=True)
class SweepObservation:
    """A job's verdict at a run of redeploy_and_verify."""

    at: datetime
    run: str
    verdict: str
    flink_job_id: str | None


class Samples(Store):
    """The samples of one environment."""

    def add(self, samples: Iterable[Sample], *, older_than: datetime) -> int:
        """Insert the samples of a sweep and delete samples that are older than that moment, in one transaction.

        Returns:
            The number of deleted samples.
        """
        with self._sessions.begin() as session:
            session.add_all(samples)
            old = delete(Sample).where(Sample.environment == self.environment, Sample.at < older_than)
            return int(session.execute(old).rowcount)  # type: ignore[attr-defined]  # a DELETE's result has it

    def newest(self, since: datetime) -> dict[str, Sample]:
        """Each job's newest sample with readings since that moment, by the job's name."""
        newest = (
            select(func.max(Sample.id))
            .where(Sample.environment == self.environment, Sample.at >= since, Sample.readings.is_not(None))
            .group_by(Sample.job)
        )
        with self._sessions() as session:
            found = session.scalars(select(Sample).where(Sample.id.in_(newest)))
            return {sample.job: sample for sample in found}

    def last_sweep(self) -> list[Sample]:
        """The samples of the last sweep, sorted by job; empty: there was no sweep."""
        last = select(func.max(Sample.at)).where(Sample.environment == self.environment).scalar_subquery()
        query = select(Sample).where(Sample.environment == self.environment, Sample.at == last)
        with self._sessions() as session:
            return list(session.scalars(query.order_by(Sample.job)))

    def sweep_observations(self, job: str, limit: int) -> list[SweepObservation]:
        """A job's verdicts at the latest runs of redeploy_and_verify, newest first."""
        query = (
            select(Sample.at, Sample.run, Sample.verdict, Sample.flink_job_id)
            .where(Sample.environment == self.environment, Sample.job == job, Sample.run.is_not(None))
            .order_by(Sample.at.desc(), Sample.id.desc())
        )
        with self._sessions() as session:
            return [
                SweepObservation(at, run or "", verdict, flink_job_id)
                for at, run, verdict, flink_job_id in session.execute(query.limit(limit))
            ]

    def last_run(self) -> datetime | None:
        """The time of the last sample that a run of redeploy_and_verify made; None: there is none."""
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
