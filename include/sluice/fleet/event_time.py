"""The event time that a job's committed output has reached, by its samples. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sluice.ledger.samples import Sample

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def written_until(samples: Sequence[Sample]) -> datetime | None:
    """The event time until which a job's rows can be read; None: that isn't known.

    A checkpoint commits the rows that were emitted until it was triggered; rows emitted while it was being made are
    committed by the next one. So the result is the watermark of the newest sample that is older than the trigger of the
    newest sample's checkpoint, if the Flink job has not restarted in between.

    Args:
        samples: The job's samples, oldest first.
    """
    newest = samples[-1] if samples else None
    if newest is None or newest.flink_job_id is None:
        return None
    if newest.checkpoint_age_ms is None or newest.checkpoint_duration_ms is None:
        return None
    ago = timedelta(milliseconds=newest.checkpoint_age_ms + newest.checkpoint_duration_ms)
    triggered = _observed_at(newest) - ago
    for sample in reversed(samples):
        if (sample.flink_job_id, sample.restarts) != (newest.flink_job_id, newest.restarts):
            return None
        if _observed_at(sample) <= triggered and sample.watermark_lag_ms is not None:
            return _observed_at(sample) - timedelta(milliseconds=sample.watermark_lag_ms)
    return None


def _observed_at(sample: Sample) -> datetime:
    """When the job was read, some time after its sweep began."""
    at_ms = (sample.readings or {}).get("at_ms")
    return sample.at if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)


def last_boundary(moment: datetime, every: timedelta) -> datetime:
    """The last multiple of a duration, counted from the epoch in UTC, that is not after a moment."""
    return _EPOCH + (moment - _EPOCH) // every * every
