"""A job's state is lost: with an approval, it starts without state from its consumer group's committed offsets."""

import pytest

from sluice.errors import OperationError, RefusedError, StateError
from sluice.plan.approval import Approval
from sluice.plan.explain import explain
from tests.simulator.cluster import Died
from tests.simulator.simulated import JOB, TOPIC


def lost(simulated, first):
    simulated.cluster.states.clear()


def suspended(simulated, first):
    simulated.ledger.resume(simulated.operate(kind="suspend").operation).finish("suspended")


def stopping(simulated, first):
    """A deploy crashed while it stopped the job, which has failed."""
    with simulated.crash("after", "stop stop"):
        simulated.operate("crashed", overrides={"least": 1})
    simulated.cluster.states[first.flink_job_id] = "FAILED"


def stopped(simulated, first):
    """A deploy crashed after it had stopped the job."""
    with simulated.crash("after", "stop stopped"):
        simulated.operate("crashed", overrides={"least": 1})


@pytest.fixture(params=[lost, suspended, stopping, stopped], ids=lambda how: how.__name__)
def down(request, simulated):
    """The job is down, its state is deleted, and its group's committed offset is 9."""
    first = simulated.deploy()
    simulated.cluster.checkpoint(first.flink_job_id)
    simulated.ledger.saw_checkpoint(JOB, first.flink_job_id)
    request.param(simulated, first)
    simulated.cluster.snapshots.clear()
    simulated.cluster.newest_checkpoints.clear()
    simulated.committed[TOPIC, 0] = 9
    return simulated


def test_state_is_not_abandoned_without_mode_stateless(down):
    with pytest.raises((RefusedError, StateError)) as refused:
        down.operate(resume_suspended=True)
    assert down.place.phase != "stopping" or down.place.stop_mode != "cancel"
    assert not down.cluster.running_jobs()
    assert "savepoint-1 does not exist" in str(refused.value) or "mode stateless abandons the state" in str(
        refused.value
    )


def test_mode_stateless_for_unreadable_state_needs_an_approval_with_a_reason(down):
    plan = down.plan(mode="stateless", resume_suspended=True).plan
    assert (plan.category, plan.needs_approval, plan.gives_up) == ("state_breaking", True, True)
    words = "\n".join(explain(plan))
    assert "its state is abandoned, since" in words
    assert "start without state, from its consumer group's offsets" in words
    with pytest.raises(RefusedError, match="its state is abandoned"):
        down.operate(mode="stateless", resume_suspended=True)


def test_job_without_readable_state_starts_at_the_committed_offsets(down):
    started = down.operate(mode="stateless", resume_suspended=True, approved=True)
    assert (started.restored_from, started.positions) == (None, {TOPIC: {"0": 9}})
    assert down.cluster.running_jobs() == [started.flink_job_id] == [down.place.flink_job_id]
    assert down.committed == {(TOPIC, 0): 9}
    assert down.compiler.prepared[-1][1]


def test_start_without_readable_state_is_continued_after_a_crash(down):
    down.cluster.dies_at_submit = "before"
    with pytest.raises(Died):
        down.operate("another", mode="stateless", resume_suspended=True, approved=True)
    down.cluster.dies_at_submit = None
    started = down.operate(mode="stateless", resume_suspended=True, approved=True)
    assert (started.restored_from, started.positions) == (None, {TOPIC: {"0": 9}})
    assert down.cluster.running_jobs() == [started.flink_job_id]


def test_start_positions_are_used_if_they_are_after_the_committed_offsets(simulated):
    first = simulated.deploy()
    simulated.cluster.checkpoint(first.flink_job_id, position=30)
    second = simulated.deploy(overrides={"least": 1})
    simulated.cluster.states.clear()
    simulated.cluster.snapshots.clear()
    simulated.committed[TOPIC, 0] = 9
    assert second.positions == {TOPIC: {"0": 30}}
    assert simulated.operate(mode="stateless", approved=True).positions == {TOPIC: {"0": 30}}


def test_approval_to_abandon_readable_state_does_not_cover_unreadable_state(simulated):
    first = simulated.deploy()
    simulated.cluster.checkpoint(first.flink_job_id)
    simulated.cluster.states.clear()
    approval = Approval("ann", simulated.place.since, simulated.plan(mode="stateless").plan)
    simulated.cluster.snapshots.clear()
    simulated.ledger.saw_checkpoint(JOB, first.flink_job_id)
    with pytest.raises(RefusedError, match="the job's last state can no longer be read, nor its offsets there"):
        simulated.operate(mode="stateless", approved=approval)


def test_crash_of_the_client_does_not_abandon_state(simulated):
    first = simulated.deploy()
    simulated.cluster.checkpoint(first.flink_job_id)
    simulated.cluster.states.clear()
    simulated.compiler.inspect_errors = [OperationError("client process ended with status -9")]
    with pytest.raises(OperationError, match="client process ended"):
        simulated.plan(mode="stateless")
