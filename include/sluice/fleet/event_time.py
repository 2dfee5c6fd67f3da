"""How far the output of a job has come in event time, by what the sweeps have seen. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sluice.release.samples import Sample

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def written_until(samples: Sequence[Sample]) -> datetime | None:
    """The event time until which a job's rows can be read; None: that isn't known.

    Rows are readable once a checkpoint has completed after they were emitted. So it is the watermark of the newest look
    that the newest look's checkpoint came after, the same Flink job having run through in between.

    Args:
        samples: The job's, oldest first.
    """
    newest = samples[-1] if samples else None
    if newest is None or newest.checkpoint_age_ms is None or newest.flink_job_id is None:
        return None
    completed = newest.at - timedelta(milliseconds=newest.checkpoint_age_ms)
    for sample in reversed(samples):
        if (sample.flink_job_id, sample.restarts) != (newest.flink_job_id, newest.restarts):
            return None
        if sample.at <= completed and sample.watermark_lag_ms is not None:
            return sample.at - timedelta(milliseconds=sample.watermark_lag_ms)
    return None


def last_boundary(moment: datetime, every: timedelta) -> datetime:
    """The last multiple of a duration, counted from the epoch in UTC, that is not after a moment."""
    return _EPOCH + (moment - _EPOCH) // every * every
