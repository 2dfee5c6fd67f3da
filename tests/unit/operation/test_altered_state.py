"""State of an operator that computes something else: the release that wrote it is compared with the new one."""

import pytest

from sluice.errors import RefusedError
from tests.simulator.simulated import JOB


@pytest.fixture
def counting(simulated):
    """Release 1 runs and has a checkpoint; the window computes something else with `least` 2, and the same with 3."""
    simulated.compiler.computes = {0: "Count(groupBy=[a, b])", 2: "Count(groupBy=[b, a])", 3: "Count(groupBy=[a, b])"}
    first = simulated.deploy()
    simulated.cluster.checkpoint(first.flink_job_id)
    return simulated


def fates(plan):
    return {operator.name: fate for fate, operator in plan.state.fates}


def test_altered_state_needs_an_approval(counting):
    plan = counting.plan(overrides={"least": 2}).plan
    assert (plan.mode, plan.category, plan.alters_state) == ("savepoint", "state_breaking", True)
    assert fates(plan) == {"Source: lines": "kept", "Window": "altered"}
    with pytest.raises(RefusedError, match="state would be kept with another meaning"):
        counting.operate(overrides={"least": 2})
    started = counting.operate(overrides={"least": 2}, approved=True)
    assert started.restored_from == started.savepoint


def test_mode_stateless_drops_state_instead_of_altering_it(counting):
    plan = counting.plan(overrides={"least": 2}, mode="stateless").plan
    assert fates(plan) == {"Source: lines": "kept", "Window": "dropped"}
    assert counting.operate(overrides={"least": 2}, mode="stateless", approved=True).restored_from is None


def test_release_without_a_checkpoint_leaves_the_state_of_its_predecessor(counting):
    second = counting.operate(overrides={"least": 2}, approved=True)
    counting.settle(second)
    counting.cluster.states[second.flink_job_id] = "FAILED"
    # Its start state was written by release 1: a release that computes the same keeps it, another one alters it.
    back = counting.plan(overrides={"least": 3}).plan
    assert (back.needs_approval, fates(back)["Window"]) == (False, "kept")
    counting.compiler.computes[4] = "Count(groupBy=[b, a])"
    assert fates(counting.plan(overrides={"least": 4}).plan)["Window"] == "altered"


def test_restart_of_the_same_release_needs_no_approval(counting):
    second = counting.operate(overrides={"least": 2}, approved=True)
    counting.settle(second)
    counting.cluster.states[second.flink_job_id] = "FAILED"
    plan = counting.plan().plan
    assert (plan.action, plan.needs_approval, plan.release) == ("recover", False, second.release)


def test_change_of_unknown_operators_needs_an_approval_and_a_restart_none(counting):
    job = counting.deploy(overrides={"least": 3}).flink_job_id
    counting.cluster.checkpoint(job)
    assert counting.ledger.release(JOB, counting.place.release).operators
    counting.forget_operators()
    counting.compiler.computes[4] = counting.compiler.computes[3]
    plan = counting.plan(overrides={"least": 4}).plan
    assert fates(plan)["Window"] == "altered"
    assert plan.state.altered[0].old == "not known"
    counting.cluster.states[job] = "FAILED"
    assert counting.plan().plan.needs_approval is False
