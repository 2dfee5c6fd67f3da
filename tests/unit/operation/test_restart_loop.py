"""A job that fails again and again writes no savepoint; without its state it is replaced all the same."""

import pytest

from sluice.errors import RefusedError
from sluice.operation.stop import StopFailedError
from sluice.plan.explain import explain
from tests.support.simulated import JOB, TOPIC, Died

NOT_RUNNING = "CheckpointException: Some tasks of the job are currently not running"


@pytest.fixture
def looping(simulated):
    """Its state makes it fail; its newest checkpoint stands at 12."""
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id, position=12)
    simulated.ledger.saw_checkpoint(JOB, first.flink_job_id)
    simulated.states[first.flink_job_id] = "RESTARTING"
    simulated.savepoint_fails = NOT_RUNNING
    return simulated


def stop_of(plan):
    return next(stage.mode for stage in plan.stages if stage.stage == "stop")


def test_the_plan_says_that_it_is_cancelled(looping):
    plan = looping.plan(overrides={"hours": 2}).plan
    assert (plan.mode, plan.category, stop_of(plan)) == ("stateless", "state_breaking", "last-state")
    assert "  it can't write a savepoint, since not all of its tasks run: it is cancelled" in explain(plan)
    with pytest.raises(RefusedError):
        looping.operate(overrides={"hours": 2})


def test_it_begins_at_the_positions_of_the_newest_checkpoint(looping):
    started = looping.operate(overrides={"hours": 2}, approved=True)
    assert (started.restored_from, started.positions) == (None, {TOPIC: {"0": 12}})
    assert looping.committed == {(TOPIC, 0): 12}
    assert looping.alive() == [started.flink_job_id]


@pytest.mark.parametrize("how", ["deleted with it", "gone"])
def test_without_a_checkpoint_to_be_read_its_group_tells_where_it_stood(looping, how):
    looping.committed[TOPIC, 0] = 11
    if how == "gone":
        looping.files.clear()
    else:
        looping.retains = False
    plan = looping.plan(overrides={"hours": 2}).plan
    assert (stop_of(plan), plan.gives_up, plan.needs_approval) == ("cancel", True, True)
    assert "  1. enter the release in the ledger" in explain(plan)
    started = looping.operate(overrides={"hours": 2}, approved=True)
    assert (started.restored_from, started.positions) == (None, {TOPIC: {"0": 11}})
    assert looping.alive() == [started.flink_job_id]


def test_a_death_after_such_a_cancel_is_gone_on_from_by_whoever_comes(looping):
    looping.committed[TOPIC, 0] = 11
    looping.files.clear()
    looping.dies_at = "before"
    with pytest.raises(Died):
        looping.operate("gone", overrides={"hours": 2}, approved=True)
    looping.dies_at = looping.savepoint_fails = None
    started = looping.operate("another")
    assert (started.restored_from, started.positions) == (None, {TOPIC: {"0": 11}})
    assert looping.alive() == [started.flink_job_id]


def test_a_job_that_runs_hands_over_by_its_savepoint(looping):
    looping.states = dict.fromkeys(looping.states, "RUNNING")
    assert stop_of(looping.plan(overrides={"hours": 2}).plan) == "stateless"


def test_where_its_savepoint_fails_the_way_without_its_state_is_told(looping):
    looping.states = dict.fromkeys(looping.states, "RUNNING")
    with pytest.raises(StopFailedError) as failed:
        looping.operate(overrides={"hours": 2}, approved=True)
    assert failed.value.remedy.endswith(
        "sluice suspend counts --mode last-state, then sluice deploy counts --mode stateless --wake"
    )
    looping.deploy(kind="suspend", mode="last-state")
    started = looping.operate(overrides={"hours": 2}, mode="stateless", wake=True, approved=True)
    assert started.restored_from is None


def test_with_its_state_nothing_is_cancelled_unasked(looping):
    assert stop_of(looping.plan(overrides={"least": 1}).plan) == "savepoint"
    with pytest.raises(StopFailedError, match="or take mode last-state"):
        looping.operate(overrides={"least": 1})
