"""A job that doesn't begin where its state stands is not the one that was meant."""

import pytest

from sluice.flink.models import JobState
from sluice.health.snapshot import Snapshot, SplitReading
from sluice.job.limits import Health
from sluice.operation.gate import GateOrder, _Watch

SAVEPOINT = "file:///savepoints/savepoint-1"


def order(**changes):
    return GateOrder(
        **{
            "gates": ("running",),
            "flink_url": "http://flink",
            "flink_job_id": "a" * 32,
            "topics": ("lines",),
            "kafka": {},
            "group": "group",
            "health": Health(),
            "deadline": 10.0**12,
            "restored_from": SAVEPOINT,
            "positions": {"lines": {"0": 5, "1": -2}, "former": {"0": 9}},
        }
        | changes
    )


def read(split, restored_from="file:/savepoints/savepoint-1"):
    snapshot = Snapshot(
        1_000, JobState.RUNNING, restored_from=restored_from, splits={("lines", 0): split, ("lines", 1): split}
    )
    return _Watch(order()).read("running", snapshot)


@pytest.mark.parametrize(
    ("split", "hopeless"),
    [
        (SplitReading(lag=0, watermark_ms=None, following=5), False),
        (SplitReading(lag=0, watermark_ms=None, following=9), False),
        (SplitReading(lag=0, watermark_ms=None, following=4), True),
        (SplitReading(lag=0, watermark_ms=None, following=4, is_guessed=True), False),
        (SplitReading(lag=None, watermark_ms=None), False),
    ],
)
def test_it_must_not_read_what_its_state_has_counted(split, hopeless):
    reading = read(split)
    assert reading.hopeless == hopeless
    assert ("reads lines-0 at 4, before 5, where its state stands" in reading.words) == hopeless


@pytest.mark.parametrize(
    ("found", "hopeless"),
    [
        ("file:/savepoints/savepoint-1", False),
        ("file:///savepoints/savepoint-2", True),
        (f"file:/checkpoints/{'a' * 32}/chk-3", False),
    ],
)
def test_it_must_be_restored_from_what_was_meant(found, hopeless):
    assert read(SplitReading(lag=0, watermark_ms=None, following=5), found).hopeless == hopeless


def test_what_does_not_answer_is_hopeless_only_after_the_deadline():
    watch = _Watch(order(deadline=0.0))
    reading = watch.read("running", Snapshot(1_000, JobState.RUNNING))
    assert reading.hopeless
    assert reading.words.endswith(", at the deadline")
