"""Gates: figures, limits, forecasts."""

from dataclasses import replace

import pytest

from sluice.flink.models import JobState
from sluice.health.gates import GATES, judge
from sluice.health.snapshot import CheckpointReading, Failure, SplitReading
from tests.unit.health.judging import GOOD, HEALTH, NOW, failures, splits

LATE, FRESH, NONE = SplitReading(5, NOW - 90_000), SplitReading(5, NOW - 1_000), SplitReading(5, None)
NONE_YET = "there is no watermark of u-0 yet"
DIVIDES = "java.lang.ArithmeticException: / by zero"


@pytest.mark.parametrize(
    ("changes", "gate", "passed", "words"),
    [
        ({}, "running", True, "2 of 2 tasks running, 3 checkpoints"),
        ({"tasks_running": 1}, "running", False, "1 of 2 tasks running"),
        ({"checkpoints": CheckpointReading()}, "running", False, "2 of 2 tasks running, no checkpoint yet"),
        ({}, "checkpoint", True, "the newest checkpoint is 5.0 s old <= 60.0 s"),
        ({"checkpoints": CheckpointReading(3, age_ms=90_000)}, "checkpoint", False, "the newest checkpoint is 90.0 s"),
        ({"checkpoints": CheckpointReading()}, "checkpoint", False, "no checkpoint yet"),
        ({}, "consumer_lag", True, "consumer lag 15 <= 100 records"),
        ({"splits": splits((90, NOW), (20, NOW))}, "consumer_lag", False, "consumer lag 110 > 100 records"),
        ({"splits": splits((90, NOW), (None, NOW))}, "consumer_lag", False, "the consumer lag of t-1 is not known yet"),
        ({"splits": None}, "consumer_lag", False, "the consumer lag is not known yet"),
        ({"splits": {}}, "consumer_lag", True, "reads nothing"),
        ({"splits": {}}, "watermark", True, "reads nothing"),
        ({}, "watermark", True, "watermark 12.0 s behind <= 60.0 s"),
        ({"splits": splits((5, NOW - 90_000))}, "watermark", False, "watermark 90.0 s behind > 60.0 s"),
        ({"splits": splits((5, None))}, "watermark", False, "there is no watermark of t-0 yet"),
        # The watermark isn't known while one partition with records to read has none.
        ({"splits": splits((5, NOW), (1, None))}, "watermark", False, "there is no watermark of t-1 yet"),
        ({"splits": splits((5, NOW), (0, None))}, "watermark", True, "watermark 0.0 s behind"),
        ({"splits": splits((0, None))}, "watermark", True, "no input: the job has read all records"),
        # Read to its end and behind the others: idle, so that it doesn't count.
        ({"splits": splits((0, NOW - 900_000), (5, NOW - 1_000))}, "watermark", True, "watermark 1.0 s behind"),
        # Known at once; waiting changes nothing.
        (
            {"splits": splits((None, None)), "unread": ("t",)},
            "consumer_lag",
            False,
            "no Kafka source of the job reads t",
        ),
        ({"splits": splits((None, None)), "unread": ("t",)}, "watermark", False, "no Kafka source of the job reads t"),
        # Topics without event time have no watermark.
        ({"splits": splits((5, None)), "untimed": ("t",)}, "watermark", True, "t declares no event time"),
        ({"splits": None, "untimed": ("t",)}, "watermark", False, "there is no watermark yet"),
        ({"splits": {("u", 0): LATE, **splits((5, None))}, "untimed": ("t",)}, "watermark", False, "watermark 90.0 s"),
        ({"splits": {("u", 0): NONE, **splits((5, None))}, "untimed": ("t",)}, "watermark", False, NONE_YET),
        ({"splits": {("u", 0): FRESH, **splits((5, None))}, "untimed": ("t",)}, "watermark", True, "watermark 1.0 s"),
        # Behind with records to read: stuck.
        ({"splits": splits((7, NOW - 900_000), (5, NOW - 1_000))}, "watermark", False, "watermark 900.0 s behind"),
    ],
)
def test_gate_reads_its_figure_and_limit(changes, gate, passed, words):
    reading = judge(gate, replace(GOOD, **changes), HEALTH)
    assert (reading.passed, reading.hopeless) == (passed, False)
    assert reading.words.startswith(words)


def test_gate_names_the_first_five_of_many_unknown_partitions():
    reading = judge("consumer_lag", replace(GOOD, splits=splits(*[(None, None)] * 9)), HEALTH)
    assert reading.words == "the consumer lag of t-0, t-1, t-2, t-3, t-4 and 4 more partitions is not known yet"


@pytest.mark.parametrize("state", [None, JobState.FAILED, JobState.CANCELED, JobState.FINISHED])
def test_ended_job_passes_no_gate(state):
    snapshot = replace(GOOD, state=state, failures=(Failure(NOW, "java.lang.Boom"),))
    assert all(judge(gate, snapshot, HEALTH).hopeless for gate in GATES)


@pytest.mark.parametrize(
    ("changes", "hopeless"),
    [
        ({}, True),
        ({"failures": failures(1, 2, words=DIVIDES)}, False),
        ({"failures": failures(1, 2, 900_000, words=DIVIDES)}, False),
        # It completed a checkpoint after the failures, or before them.
        ({"checkpoints": CheckpointReading(completed=1, age_ms=0)}, False),
        ({"checkpoints": CheckpointReading(completed=1, age_ms=5_000)}, True),
        # The cluster or a broker may recover.
        ({"failures": failures(1, 2, 3, words="org.apache.kafka.common.errors.TimeoutException: no broker")}, False),
        ({"failures": failures(1, 2, 3, words="java.net.ConnectException: refused")}, False),
        ({"failures": (*failures(1, 2, words=DIVIDES), *failures(3, words="java.lang.Other: no"))}, False),
        # An older failure was a different one.
        ({"failures": (*failures(1, 2, 3, words=DIVIDES), *failures(4, words="java.lang.Other: no"))}, True),
    ],
)
def test_repeated_failure_of_the_jobs_own_code_fails_the_gate_at_once(changes, hopeless):
    failing = {
        "tasks_running": 1,
        "restarts": 3,
        "checkpoints": CheckpointReading(),
        "failures": failures(1, 2, 3, words=DIVIDES),
    }
    for gate in GATES:
        reading = judge(gate, replace(GOOD, **(failing | changes)), HEALTH)
        assert reading.hopeless == hopeless
        assert ("repeatedly" in reading.words) == hopeless


def readings(gate, figures, deadline_s, step_ms=5_000):
    """The last of a gate's readings, taken at equal intervals."""
    earlier = []
    for number, figure in enumerate(figures):
        at = NOW + number * step_ms
        split = splits((figure, at)) if gate == "consumer_lag" else splits((5, at - figure))
        snapshot = replace(GOOD, at_ms=at, splits=split)
        earlier.append(judge(gate, snapshot, HEALTH, earlier, at + deadline_s * 1000))
    return earlier[-1]


FALLING = (5_000, 4_000, 3_000, 2_000)


@pytest.mark.parametrize(
    ("figures", "deadline_s", "passed", "words"),
    [
        (
            FALLING,
            60,
            True,
            "consumer lag 2,000 > 100 records, falling 200/s: inside the limit in 9.5 s, the deadline is in 60.0 s",
        ),
        (FALLING, 9, False, "consumer lag 2,000 > 100 records, falling 200/s: inside the limit in 9.5 s"),
        (FALLING[:3], 600, False, "consumer lag 3,000 > 100 records"),  # too short to be believed
        (FALLING[::-1], 600, False, "consumer lag 5,000 > 100 records"),
        ((5_000,) * 4, 600, False, "consumer lag 5,000 > 100 records"),
        # A lag that falls at times and rises again.
        ((5_000, 9_000, 4_000, 9_500, 5_500), 600, False, "consumer lag 5,500 > 100 records"),
        ((5_000, None, 3_000, 2_000), 60, True, "consumer lag 2,000 > 100 records, falling 200/s"),
        # A constant lag with the noise of old metrics: its regression line falls a little.
        ((5_300, 4_900, 5_200, 4_800, 5_100, 4_700, 5_000), 3_600, False, "consumer lag 5,000 > 100 records"),
        # Too slow, however steady: readings over seconds don't predict an hour.
        ((5_004, 5_003, 5_002, 5_001, 5_000), 360_000, False, "consumer lag 5,000 > 100 records, falling 0.2/s"),
        # Readings of more than a minute ago don't count.
        ((90_000, *(5_000,) * 14), 600, False, "consumer lag 5,000 > 100 records"),
    ],
)
def test_consumer_lag_gate_passes_if_the_lag_falls_fast_enough(figures, deadline_s, passed, words):
    reading = readings("consumer_lag", figures, deadline_s)
    assert (reading.passed, reading.hopeless) == (passed, False)
    assert reading.words.startswith(words)
    assert ("falling" in reading.words) == ("falling" in words)


def test_watermark_gate_passes_if_its_lag_falls_fast_enough():
    reading = readings("watermark", (900_000, 700_000, 500_000, 300_000), 60)
    assert reading.passed
    assert reading.words.startswith("watermark 300.0 s behind > 60.0 s, falling 40.0 s/s: inside the limit in 6.0 s")


def test_gate_without_deadline_makes_no_forecast():
    earlier = [judge("consumer_lag", replace(GOOD, at_ms=NOW - 60_000, splits=splits((9_000, NOW))), HEALTH)]
    assert not judge("consumer_lag", replace(GOOD, splits=splits((101, NOW))), HEALTH, earlier).passed
