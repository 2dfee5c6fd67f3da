"""The gates of a release check its own topics, by the job's current limits or else by those it recorded."""

import asyncio
from types import SimpleNamespace

import pytest

from sluice.errors import ConfigError
from sluice.health.gates import Reading
from sluice.operation import verify
from sluice.operation.limits import limits
from tests.simulator.simulated import JOB, TOPIC
from tests.support.windowed import source

BROKEN = "import nothing_of_that_name"


@pytest.fixture
def orders(simulated):
    """The orders that the gates received."""
    received = []

    async def passing(_project, order):
        received.append(order)
        yield order.gates[-1], Reading(passed=True, words="fine")

    simulated.gates = passing
    return received


def pass_gates(simulated, started):
    operation = simulated.ledger.resume(started.operation)
    return asyncio.run(verify.pass_gates(simulated.project, operation, started, simulated.log_lines.append))


def test_gates_check_the_topics_that_the_release_reads(simulated, orders):
    started = simulated.operate()
    simulated.rewrite(source(JOB).replace(TOPIC, "others"))
    pass_gates(simulated, started)
    assert orders[0].topics == (TOPIC,)


def test_gates_use_the_current_limits_of_the_job(simulated, orders):
    started = simulated.operate()
    simulated.rewrite(source(JOB, lag=5))
    pass_gates(simulated, started)
    assert orders[0].health.consumer_lag == 5


def test_gates_use_the_limits_of_the_release_if_the_job_can_not_be_read(simulated, orders):
    started = simulated.operate()
    simulated.rewrite(BROKEN)
    assert pass_gates(simulated, started) is None
    assert orders[0].health.consumer_lag == 10_000
    assert any(
        line.startswith("using the limits of release 1, since the job can't be read: ") for line in simulated.log_lines
    )


def test_unreadable_job_is_refused_if_its_release_recorded_no_limits(simulated):
    simulated.rewrite(BROKEN)
    with pytest.raises(ConfigError):
        limits(simulated.project, SimpleNamespace(job=JOB, number=1, health=None), print)


def test_meaning_of_a_setting_is_known_without_the_file_of_the_job(simulated):
    simulated.deploy()
    simulated.settle(simulated.operate(overrides={"hours": 2}, approved=True))
    simulated.cluster.checkpoint(simulated.place.flink_job_id)
    simulated.rewrite(BROKEN)
    plan = simulated.plan(kind="rollback").plan
    assert (plan.needs_approval, plan.mode) == (True, "stateless")
    assert plan.reasons == ("config.hours: alters what the state means: open windows keep their old bounds",)
