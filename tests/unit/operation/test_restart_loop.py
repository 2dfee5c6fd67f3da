"""A job in a restart loop can't write a savepoint: it is cancelled, and replaced with or without its state."""

import pytest

from sluice.errors import RefusedError
from sluice.operation.stop import StopFailedError
from sluice.plan.explain import explain
from tests.simulator.cluster import Died
from tests.simulator.simulated import JOB, TOPIC

NOT_RUNNING = "CheckpointException: Some tasks of the job are currently not running"


@pytest.fixture
def looping(simulated):
    """A job that its state makes fail; its newest checkpoint has offset 12."""
    first = simulated.deploy()
    simulated.cluster.checkpoint(first.flink_job_id, position=12)
    simulated.ledger.saw_checkpoint(JOB, first.flink_job_id)
    simulated.cluster.states[first.flink_job_id] = "RESTARTING"
    simulated.cluster.savepoint_failure = NOT_RUNNING
    return simulated


def stop_of(plan):
    return next(stage.mode for stage in plan.stages if stage.stage == "stop")


def test_plan_says_that_a_job_in_a_restart_loop_is_cancelled(looping):
    plan = looping.plan(overrides={"hours": 2}).plan
    assert (plan.mode, plan.category, stop_of(plan)) == ("stateless", "state_breaking", "last-state")
    assert "  it can't write a savepoint, since not all of its tasks run: it is cancelled" in explain(plan)
    with pytest.raises(RefusedError):
        looping.operate(overrides={"hours": 2})


def test_job_without_its_state_starts_at_the_positions_of_its_newest_checkpoint(looping):
    started = looping.operate(overrides={"hours": 2}, approved=True)
    assert (started.restored_from, started.positions) == (None, {TOPIC: {"0": 12}})
    assert looping.committed == {(TOPIC, 0): 12}
    assert looping.cluster.running_jobs() == [started.flink_job_id]


@pytest.mark.parametrize("how", ["deleted with the job", "unreadable"])
def test_job_without_a_readable_checkpoint_starts_at_the_committed_offsets(looping, how):
    looping.committed[TOPIC, 0] = 11
    if how == "unreadable":
        looping.cluster.snapshots.clear()
    else:
        looping.cluster.retains_checkpoints = False
    plan = looping.plan(overrides={"hours": 2}).plan
    assert (stop_of(plan), plan.gives_up, plan.needs_approval) == ("cancel", True, True)
    assert "  1. enter the release in the ledger" in explain(plan)
    started = looping.operate(overrides={"hours": 2}, approved=True)
    assert (started.restored_from, started.positions) == (None, {TOPIC: {"0": 11}})
    assert looping.cluster.running_jobs() == [started.flink_job_id]


def test_crash_after_a_cancel_without_state_is_continued_by_another_holder(looping):
    looping.committed[TOPIC, 0] = 11
    looping.cluster.snapshots.clear()
    looping.cluster.dies_at_submit = "before"
    with pytest.raises(Died):
        looping.operate("crashed", overrides={"hours": 2}, approved=True)
    looping.cluster.dies_at_submit = looping.cluster.savepoint_failure = None
    started = looping.operate("another")
    assert (started.restored_from, started.positions) == (None, {TOPIC: {"0": 11}})
    assert looping.cluster.running_jobs() == [started.flink_job_id]


def test_running_job_is_stopped_with_a_savepoint(looping):
    looping.cluster.states = dict.fromkeys(looping.cluster.states, "RUNNING")
    assert stop_of(looping.plan(overrides={"hours": 2}).plan) == "stateless"


def test_failed_savepoint_names_the_commands_for_a_start_without_state(looping):
    looping.cluster.states = dict.fromkeys(looping.cluster.states, "RUNNING")
    with pytest.raises(StopFailedError) as failed:
        looping.operate(overrides={"hours": 2}, approved=True)
    assert failed.value.remedy.endswith(
        "sluice suspend counts --mode last-state, then sluice deploy counts --mode stateless --wake"
    )
    looping.deploy(kind="suspend", mode="last-state")
    started = looping.operate(overrides={"hours": 2}, mode="stateless", resume_suspended=True, approved=True)
    assert started.restored_from is None


def test_job_in_a_restart_loop_continues_from_its_newest_checkpoint(looping):
    plan = looping.plan(overrides={"least": 1}).plan
    assert (plan.mode, plan.category, stop_of(plan)) == ("last-state", "state_compatible", "last-state")
    assert (
        "  it can't write a savepoint, since not all of its tasks run: it is cancelled, and its newest checkpoint "
        "is kept; it has committed nothing since"
    ) in explain(plan)
    started = looping.operate(overrides={"least": 1})
    assert started.positions == {TOPIC: {"0": 12}}
    assert looping.cluster.running_jobs() == [started.flink_job_id]


def test_job_that_failed_since_its_newest_checkpoint_takes_no_savepoint(looping):
    looping.cluster.states = dict.fromkeys(looping.cluster.states, "RUNNING")
    job = looping.cluster.running_jobs()[0]
    looping.cluster.failures[job] = [(5, "java.lang.RuntimeException: it fails\nCaused by: ValueError: no such place")]
    plan = looping.plan(overrides={"least": 1}).plan
    assert (plan.mode, stop_of(plan)) == ("last-state", "last-state")
    assert "its newest failure: ValueError: no such place" in plan.reasons
    # A failure before its newest checkpoint doesn't count.
    looping.cluster.failures[job] = [(0, "java.lang.RuntimeException: it failed")]
    assert looping.plan(overrides={"least": 1}).plan.mode == "savepoint"


def test_failing_job_without_a_checkpoint_continues_from_its_start_state(simulated):
    first = simulated.deploy()
    simulated.cluster.checkpoint(first.flink_job_id, position=12)
    second = simulated.operate(overrides={"least": 1})
    simulated.settle(second)
    simulated.cluster.retains_checkpoints = False
    simulated.cluster.failures[second.flink_job_id] = [(5, "ValueError: no such place")]
    plan = simulated.plan(overrides={"least": 2}).plan
    assert plan.mode == "last-state"
    simulated.cluster.checkpoints_never_complete = True
    simulated.cluster.states[second.flink_job_id] = "RESTARTING"
    third = simulated.operate(overrides={"least": 2})
    assert (third.restored_from, third.positions) == (second.restored_from, {TOPIC: {"0": 12}})


def test_failing_job_whose_checkpoints_are_not_retained_takes_a_savepoint(looping):
    looping.cluster.retains_checkpoints = False
    plan = looping.plan(overrides={"least": 1}).plan
    assert plan.mode == "savepoint"
    assert "its checkpoints are deleted when it is cancelled" in plan.reasons[0]


def test_requested_mode_savepoint_is_tried_for_a_failing_job(looping):
    assert stop_of(looping.plan(overrides={"least": 1}, mode="savepoint").plan) == "savepoint"
    with pytest.raises(StopFailedError, match="or use mode last-state"):
        looping.operate(overrides={"least": 1}, mode="savepoint")


def test_failing_job_is_suspended_with_its_newest_checkpoint(looping):
    plan = looping.plan(kind="suspend").plan
    assert (plan.mode, stop_of(plan)) == ("last-state", "last-state")
    assert "not all of its tasks run" in plan.reasons[0]
