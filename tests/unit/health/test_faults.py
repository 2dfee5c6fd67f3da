"""Whose fault a failing job's failures are."""

from dataclasses import replace

import pytest

from sluice.flink.models import JobState
from sluice.health.faults import fails_by_its_own
from tests.unit.health.judging import GOOD, HEALTH, failures

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
        # Often enough for the limits, and not by itself alone.
        (JobState.RUNNING, (*failures(1, words=NO_BROKER), *failures(*LOOP, words=DIVIDES)), False),
        # It stands still, and a failure that was got over is no reason.
        (JobState.RUNNING, failures(MINUTE, words=DIVIDES), False),
        (JobState.RUNNING, failures(*(20 * MINUTE + age for age in LOOP), words=DIVIDES), False),
        (JobState.RESTARTING, failures(MINUTE, words=DIVIDES), True),
        (JobState.RESTARTING, failures(MINUTE, words=NO_SLOTS), False),
        (JobState.CANCELED, (), False),
        (None, (), False),
    ],
)
def test_only_failures_of_code_and_state_are_the_release_s(state, found, is_own):
    assert fails_by_its_own(replace(GOOD, state=state, failures=found), HEALTH) is is_own
