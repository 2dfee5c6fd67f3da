"""How far the output of a job has come in event time, by what the sweeps have seen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sluice.ledger.samples import Sample

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def written_until(samples: Sequence[Sample]) -> datetime | None:
    """The event time until which a job's rows can be read; None: that isn't known.

    What a checkpoint commits are the rows that were emitted until it was triggered; those that came while it was made
    wait for the next one. So it is the watermark of the newest look after which the newest look's checkpoint was
    triggered, the same Flink job having run through in between.

    Args:
        samples: The job's, oldest first.
    """
    newest = samples[-1] if samples else None
    if newest is None or newest.flink_job_id is None:
        return None
    if newest.checkpoint_age_ms is None or newest.checkpoint_duration_ms is None:
        return None
    ago = timedelta(milliseconds=newest.checkpoint_age_ms + newest.checkpoint_duration_ms)
    triggered = _seen_at(newest) - ago
    for sample in reversed(samples):
        if (sample.flink_job_id, sample.restarts) != (newest.flink_job_id, newest.restarts):
            return None
        if _seen_at(sample) <= triggered and sample.watermark_lag_ms is not None:
            return _seen_at(sample) - timedelta(milliseconds=sample.watermark_lag_ms)
    return None


def _seen_at(sample: Sample) -> datetime:
    """When the job was looked at: some time after its sweep began."""
    at_ms = (sample.readings or {}).get("at_ms")
    return sample.at if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)


def last_boundary(moment: datetime, every: timedelta) -> datetime:
    """The last multiple of a duration, counted from the epoch in UTC, that is not after a moment."""
    return _EPOCH + (moment - _EPOCH) // every * every
