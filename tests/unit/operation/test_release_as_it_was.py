"""A release of the past is judged as what it was, whatever the checkout holds today."""

import asyncio
from types import SimpleNamespace

import pytest

from sluice.errors import ConfigError
from sluice.health.gates import Reading
from sluice.operation import verify
from sluice.operation.limits import limits
from tests.support.simulated import JOB, TOPIC
from tests.support.windowed import source

BROKEN = "import nothing_of_that_name"


@pytest.fixture
def orders(monkeypatch):
    """What the gates were asked for."""
    seen = []

    async def passes(order):
        seen.append(order)
        yield order.gates[-1], Reading(passed=True, words="fine")

    monkeypatch.setattr(verify, "readings", passes)
    return seen


def pass_gates(simulated, started):
    operation = simulated.ledger.resume(started.operation)
    return asyncio.run(verify.pass_gates(simulated.project, operation, started, simulated.told.append))


def test_the_gates_look_at_the_topics_that_the_release_reads(simulated, orders):
    started = simulated.operate()
    simulated.rewrite(source(JOB).replace(TOPIC, "others"))
    pass_gates(simulated, started)
    assert orders[0].topics == (TOPIC,)


def test_the_limits_are_those_of_today(simulated, orders):
    started = simulated.operate()
    simulated.rewrite(source(JOB, lag=5))
    pass_gates(simulated, started)
    assert orders[0].health.consumer_lag == 5


def test_a_job_whose_file_is_broken_keeps_the_limits_of_its_release(simulated, orders):
    started = simulated.operate()
    simulated.rewrite(BROKEN)
    assert pass_gates(simulated, started) is None
    assert orders[0].health.consumer_lag == 10_000
    assert any(line.startswith("the limits are those of release 1: ") for line in simulated.told)


def test_a_release_from_before_limits_were_kept_says_what_is_wrong(simulated):
    simulated.rewrite(BROKEN)
    with pytest.raises(ConfigError):
        limits(simulated.project, SimpleNamespace(job=JOB, number=1, health=None), print)


def test_what_a_setting_means_for_state_is_known_without_its_file(simulated):
    simulated.deploy()
    simulated.settle(simulated.operate(overrides={"hours": 2}, approved=True))
    simulated.checkpoint(simulated.place.flink_job_id)
    simulated.rewrite(BROKEN)
    plan = simulated.plan(kind="rollback").plan
    assert (plan.needs_approval, plan.mode) == (True, "stateless")
    assert plan.reasons == ("config.hours: alters what the state means: open windows keep their old bounds",)
