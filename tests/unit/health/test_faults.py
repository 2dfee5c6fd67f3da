"""Whether failures come from a job itself or from what it runs on."""

from dataclasses import replace

import pytest

from sluice.flink.models import JobState
from sluice.health.faults import fails_by_own_fault, stalls_by_own_fault
from sluice.health.snapshot import Load, SplitReading, Trend, Work
from tests.unit.health.judging import GOOD, HEALTH, NOW, failures

DIVIDES = "java.lang.ArithmeticException: / by zero"
NO_SLOTS = "org.apache.flink.runtime.jobmanager.scheduler.NoResourceAvailableException: no slots"
NO_BROKER = "org.apache.kafka.common.errors.TimeoutException: no answer"
MINUTE = 60_000
LOOP = tuple(MINUTE * number for number in range(1, HEALTH.restarts + 2))


@pytest.mark.parametrize(
    ("state", "found", "is_own"),
    [
        (JobState.FAILED, failures(MINUTE, words=DIVIDES), True),
        (JobState.FAILED, failures(MINUTE, words=NO_SLOTS), False),
        (JobState.FAILED, (*failures(MINUTE, words=NO_BROKER), *failures(2 * MINUTE, words=DIVIDES)), False),
        (JobState.FAILED, (), False),
        (JobState.RUNNING, failures(*LOOP, words=DIVIDES), True),
        (JobState.RUNNING, failures(*LOOP, words=NO_BROKER), False),
        # More often than the limit, but not all of them are the job's own.
        (JobState.RUNNING, (*failures(1, words=NO_BROKER), *failures(*LOOP, words=DIVIDES)), False),
        # It stalls; a failure before its newest checkpoint is no cause.
        (JobState.RUNNING, failures(MINUTE, words=DIVIDES), False),
        (JobState.RUNNING, failures(*(20 * MINUTE + age for age in LOOP), words=DIVIDES), False),
        (JobState.RESTARTING, failures(MINUTE, words=DIVIDES), True),
        (JobState.RESTARTING, failures(MINUTE, words=NO_SLOTS), False),
        (JobState.CANCELED, (), False),
        (None, (), False),
    ],
)
def test_only_failures_of_code_or_state_count_as_the_jobs_own_fault(state, found, is_own):
    assert fails_by_own_fault(replace(GOOD, state=state, failures=found), HEALTH) is is_own


EXPIRED = (
    "org.apache.flink.util.FlinkRuntimeException: Exceeded checkpoint tolerable failure threshold. The latest "
    "checkpoint failed due to Checkpoint expired before completing."
)


def split(since_ms=2 * MINUTE, lag=7):
    return SplitReading(lag, NOW - MINUTE, stalled_since_ms=since_ms and NOW - since_ms)


def busy(share, parallelism=1):
    return {"work": (Work("map", parallelism),), "trend": Trend(since_ms=1, loads=(Load("map", share, 0.0),))}


@pytest.mark.parametrize(
    ("changes", "is_own"),
    [
        ({}, True),
        # A split without records to read shows no progress.
        ({"splits": {("t", 0): split(), ("t", 1): SplitReading(0, None)}}, True),
        ({"splits": {("t", 0): split(), ("t", 1): split(None)}}, False),
        ({"splits": {("t", 0): split(), ("t", 1): split(MINUTE / 2)}}, False),
        ({"splits": {("t", 0): split(), ("t", 1): SplitReading(None, None)}}, False),
        ({"splits": {("t", 0): SplitReading(0, None)}}, False),
        # The brokers don't answer; the job reads no topic.
        ({"splits": None}, False),
        ({"splits": {}}, False),
        # It waits for slots, has just started, has ended.
        ({"tasks_running": 1}, False),
        ({"running_ms": 4 * MINUTE}, False),
        ({"state": JobState.RESTARTING}, False),
        # Its source waits for input.
        ({"backpressured": 0.1}, False),
        ({"backpressured": None}, False),
        # The job is one vertex: one subtask of four is busy, and the others have no partition.
        ({"backpressured": 0.0, **busy(0.25, parallelism=4)}, True),
        ({"backpressured": 0.0, **busy(0.25)}, False),
        # A failure of what it runs on may be the cause.
        ({"failures": failures(MINUTE, words=NO_BROKER)}, False),
        ({"failures": failures(20 * MINUTE, words=NO_BROKER)}, True),
        ({"failures": failures(MINUTE, words=EXPIRED)}, True),
        ({"failures": failures(MINUTE, words=DIVIDES)}, True),
    ],
)
def test_job_with_busy_operator_and_unread_input_stalls_by_its_own_fault(changes, is_own):
    stuck = replace(GOOD, splits={("t", 0): split(), ("t", 1): split()}, backpressured=0.9)
    assert stalls_by_own_fault(replace(stuck, **changes), HEALTH) is is_own
