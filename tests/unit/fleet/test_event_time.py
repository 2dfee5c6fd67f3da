"""The event time until which a job's rows can be read, from its samples."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice.fleet.event_time import last_boundary, written_until
from sluice.ledger.samples import Sample

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)


def sample(minute, lag_s=30, age_s=10, job="a", restarts=0, took_s=1, late_s=None):
    seen_at = NOON + timedelta(minutes=minute, seconds=late_s or 0)
    return Sample(
        checkpoint_duration_ms=None if took_s is None else 1000 * took_s,
        readings=None if late_s is None else {"at_ms": int(seen_at.timestamp() * 1000)},
        at=NOON + timedelta(minutes=minute),
        watermark_lag_ms=None if lag_s is None else 1000 * lag_s,
        checkpoint_age_ms=None if age_s is None else 1000 * age_s,
        flink_job_id=job,
        restarts=restarts,
    )


def test_rows_are_readable_after_a_checkpoint_that_follows_their_sample():
    # The newest sample's own watermark may be of rows that no checkpoint has committed yet.
    assert written_until([sample(0), sample(10)]) == NOON - timedelta(seconds=30)
    assert written_until([sample(0)]) is None
    assert written_until([sample(0), sample(0.1)]) is None


@pytest.mark.parametrize(
    "samples",
    [
        [],
        [sample(0), sample(10, age_s=None)],
        [sample(0), sample(10, took_s=None)],
        [sample(0, job="before"), sample(10)],
        [sample(0), sample(10, restarts=1)],
        [sample(0, lag_s=None), sample(10, lag_s=None)],
    ],
    ids=["never seen", "no checkpoint", "its begin is not known", "another Flink job", "restarted in between", "idle"],
)
def test_readable_event_time_is_unknown_across_a_restart(samples):
    assert written_until(samples) is None


def test_readable_event_time_is_known_again_two_samples_after_a_restart():
    assert written_until([sample(0), sample(10, restarts=1), sample(20, restarts=1)]) == NOON + timedelta(minutes=9.5)


def test_rows_emitted_during_a_checkpoint_belong_to_the_next_one():
    """The checkpoint was triggered 11 minutes ago, before the sample of 10 minutes ago, and completed a minute ago."""
    looks = [sample(0), sample(10), sample(20, age_s=60, took_s=600)]
    assert written_until(looks) == NOON - timedelta(seconds=30)
    looks = [sample(0), sample(10), sample(20, age_s=60, took_s=500)]
    assert written_until(looks) == NOON + timedelta(minutes=9.5)


def test_sample_counts_from_when_the_job_was_read_not_from_the_sweeps_begin():
    # The sweep began before the checkpoint was triggered, and read the job 90 s later.
    looks = [sample(0), sample(10, late_s=90), sample(20, age_s=0, took_s=560)]
    assert written_until(looks) == NOON - timedelta(seconds=30)
    looks = [sample(0), sample(10, late_s=30), sample(20, age_s=0, took_s=560)]
    assert written_until(looks) == NOON + timedelta(minutes=10)


@pytest.mark.parametrize(
    ("every", "boundary"),
    [
        (timedelta(hours=1), datetime(2026, 1, 31, 12, tzinfo=UTC)),
        (timedelta(days=1), datetime(2026, 1, 31, tzinfo=UTC)),
        (timedelta(minutes=5), datetime(2026, 1, 31, 12, 25, tzinfo=UTC)),
    ],
)
def test_boundaries_are_multiples_counted_from_the_epoch(every, boundary):
    assert last_boundary(datetime(2026, 1, 31, 12, 29, 59, tzinfo=UTC), every) == boundary
