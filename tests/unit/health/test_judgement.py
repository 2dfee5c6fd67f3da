"""Gates and verdicts, case by case."""

from dataclasses import replace
from datetime import timedelta

import pytest

from sluice import Health
from sluice.flink.models import JobState
from sluice.health.gates import judge
from sluice.health.snapshot import Snapshot, SplitReading
from sluice.health.verdict import verdict

NOW = 1_000_000_000_000
HEALTH = Health(consumer_lag=100, watermark_lag=timedelta(seconds=60), checkpoint_age=timedelta(seconds=60))
GOOD = Snapshot(
    at_ms=NOW,
    state=JobState.RUNNING,
    running_ms=600_000,
    tasks_total=2,
    tasks_running=2,
    restarts=0,
    completed_checkpoints=3,
    checkpoint_age_ms=5_000,
    splits={("t", 0): SplitReading(10, NOW - 11_000), ("t", 1): SplitReading(5, NOW - 12_000)},
)


def splits(*readings):
    return {("t", number): SplitReading(*reading) for number, reading in enumerate(readings)}


@pytest.mark.parametrize(
    ("changes", "gate", "passed", "words"),
    [
        ({}, "running", True, "2 of 2 tasks running, 3 checkpoints"),
        ({"tasks_running": 1}, "running", False, "1 of 2 tasks running"),
        ({"completed_checkpoints": 0}, "running", False, "2 of 2 tasks running, no checkpoint yet"),
        ({}, "consumer_lag", True, "consumer lag 15 <= 100 records"),
        ({"splits": splits((90, NOW), (20, NOW))}, "consumer_lag", False, "consumer lag 110 > 100 records"),
        ({"splits": splits((90, NOW), (None, NOW))}, "consumer_lag", False, "the consumer lag of t-1 is not known yet"),
        ({"splits": None}, "consumer_lag", False, "the consumer lag is not known yet"),
        ({"splits": {}}, "consumer_lag", True, "reads nothing"),
        ({"splits": {}}, "watermark", True, "reads nothing"),
        ({}, "watermark", True, "watermark 12.0 s behind <= 60.0 s"),
        ({"splits": splits((5, NOW - 90_000))}, "watermark", False, "watermark 90.0 s behind > 60.0 s"),
        ({"splits": splits((5, None))}, "watermark", False, "there is no watermark of t-0 yet"),
        # Nothing is known of how far event time has come as long as one partition with records has no watermark.
        ({"splits": splits((5, NOW), (1, None))}, "watermark", False, "there is no watermark of t-1 yet"),
        ({"splits": splits((5, NOW), (0, None))}, "watermark", True, "watermark 0.0 s behind"),
        ({"splits": splits((0, None))}, "watermark", True, "no input: all was read"),
        # Read to its end and behind the others: idle, and no hindrance.
        ({"splits": splits((0, NOW - 900_000), (5, NOW - 1_000))}, "watermark", True, "watermark 1.0 s behind"),
        # Behind with records to read: stuck.
        ({"splits": splits((7, NOW - 900_000), (5, NOW - 1_000))}, "watermark", False, "watermark 900.0 s behind"),
    ],
)
def test_gates(changes, gate, passed, words):
    reading = judge(gate, replace(GOOD, **changes), HEALTH)
    assert (reading.passed, reading.hopeless) == (passed, False)
    assert reading.words.startswith(words)


def test_of_many_unknown_partitions_the_first_are_named():
    reading = judge("consumer_lag", replace(GOOD, splits=splits(*[(None, None)] * 9)), HEALTH)
    assert reading.words == "the consumer lag of t-0, t-1, t-2, t-3, t-4 and 4 more partitions is not known yet"


@pytest.mark.parametrize("state", [None, JobState.FAILED, JobState.CANCELED, JobState.FINISHED])
def test_an_ended_job_passes_no_gate_any_more(state):
    snapshot = replace(GOOD, state=state, last_exception="java.lang.Boom")
    for gate in ("running", "consumer_lag", "watermark"):
        assert judge(gate, snapshot, HEALTH).hopeless
    assert verdict(snapshot, HEALTH).state == "failed"


@pytest.mark.parametrize(
    ("changes", "state", "reason"),
    [
        ({}, "healthy", None),
        ({"state": JobState.RESTARTING, "tasks_running": 0}, "degraded", "restarting: 0 of 2 tasks running"),
        ({"checkpoint_age_ms": 61_000}, "degraded", "the last checkpoint is 61.0 s old > 60.0 s"),
        ({"checkpoint_age_ms": None}, "degraded", "no checkpoint for 600.0 s > 60.0 s"),
        ({"checkpoint_age_ms": None, "running_ms": 5_000}, "healthy", None),
        ({"splits": splits((101, NOW))}, "degraded", "consumer lag 101 > 100 records"),
        ({"splits": splits((None, NOW))}, "unknown", "the consumer lag of t-0 is not known yet"),
        ({"splits": splits((5, NOW), (1, None))}, "degraded", "there is no watermark of t-1 yet"),
        ({"splits": splits((1, None)), "running_ms": 5_000}, "unknown", "there is no watermark of t-0 yet"),
        ({"splits": {}}, "healthy", None),
        ({"late_dropped": 1_234}, "healthy", "windows have dropped 1,234 rows that came behind the watermark"),
        ({"splits": splits((3, NOW - 61_000))}, "degraded", "watermark 61.0 s behind > 60.0 s"),
        ({"splits": splits((0, NOW - 900_000))}, "idle", "no input"),
        ({"splits": splits((0, None))}, "idle", "no input"),
    ],
)
def test_verdicts(changes, state, reason):
    judged = verdict(replace(GOOD, **changes), HEALTH)
    assert judged.state == state
    assert judged.reasons == ((reason,) if reason else ())
