"""Waiting for a condition or an event, by the clock of a project."""

from threading import Event

import pytest

from sluice.clock import MACHINE
from tests.simulator.clock import SimulatedClock


@pytest.mark.parametrize(("answers", "is_met", "pauses"), [([True], True, 0), ([False, False, True], True, 2)])
def test_waiting_ends_as_soon_as_the_condition_is_met(answers, is_met, pauses):
    clock = SimulatedClock()
    assert clock.wait_for(lambda: answers.pop(0), within=60, pause=10) == is_met
    assert clock.waited == 10 * pauses


def test_condition_is_evaluated_until_the_time_limit_and_once_without_one():
    clock, asked = SimulatedClock(), []
    assert not clock.wait_for(lambda: asked.append(clock.waited), within=30, pause=10)
    assert asked == [0, 10, 20, 30]
    assert not clock.wait_for(lambda: asked.append("once"), within=0, pause=10)
    assert asked[4:] == ["once"]


@pytest.mark.parametrize("clock", [MACHINE, SimulatedClock()])
def test_event_that_is_set_is_not_waited_for(clock):
    event, began = Event(), clock.monotonic()
    assert not clock.wait(event, 0.01)
    assert clock.monotonic() - began >= 0.01
    event.set()
    assert clock.wait(event, 3_600)
    assert clock.monotonic() - began < 3_600
