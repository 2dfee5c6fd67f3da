"""A healthy snapshot, and short forms of splits, for the tests of gates, verdicts and trends."""

from datetime import timedelta

from sluice import Health
from sluice.flink.models import JobState
from sluice.health.snapshot import CheckpointReading, Failure, Snapshot, SplitReading

NOW = 1_000_000_000_000
"""9 September 2001, 01:46:40 UTC."""
HEALTH = Health(
    consumer_lag=100,
    watermark_lag=timedelta(seconds=60),
    checkpoint_age=timedelta(seconds=60),
    stall=timedelta(seconds=60),
    start_timeout=timedelta(seconds=300),
)
GOOD = Snapshot(
    at_ms=NOW,
    state=JobState.RUNNING,
    flink_job_id="a" * 32,
    running_ms=600_000,
    tasks_total=2,
    tasks_running=2,
    restarts=0,
    checkpoints=CheckpointReading(completed=3, age_ms=5_000),
    splits={("t", 0): SplitReading(10, NOW - 11_000), ("t", 1): SplitReading(5, NOW - 12_000)},
)


def splits(*readings):
    return {("t", number): SplitReading(*reading) for number, reading in enumerate(readings)}


def failures(*ages_ms, words="c.Root: the reason"):
    return tuple(Failure(NOW - age, words) for age in ages_ms)
