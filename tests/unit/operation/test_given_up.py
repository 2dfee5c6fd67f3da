"""What a job has left is gone: a person may give its state up, and it goes on from where its group stands."""

import pytest

from sluice.errors import OperationError, RefusedError, StateError
from sluice.ledger.operation_handle import OperationHandle
from sluice.operation.stop import Stop
from sluice.plan.approval import Approval
from sluice.plan.explain import explain
from tests.support.simulated import JOB, TOPIC, Died


def lost(simulated, first):
    simulated.states.clear()


def suspended(simulated, first):
    simulated.ledger.resume(simulated.operate(kind="suspend").operation).finish("suspended")


def stopping(simulated, first):
    """A deploy died while it stopped the job, which has ended."""

    def stops_and_dies(self, place):
        raise Died

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(Stop, "complete", stops_and_dies)
        with pytest.raises(Died):
            simulated.operate("gone", overrides={"least": 1})
    simulated.states[first.flink_job_id] = "FAILED"


def stopped(simulated, first):
    """A deploy died after it had stopped the job."""
    record = OperationHandle.record

    def dies(self, stage, event, **more):
        record(self, stage, event, **more)
        if event == "stopped":
            raise Died

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(OperationHandle, "record", dies)
        with pytest.raises(Died):
            simulated.operate("gone", overrides={"least": 1})


@pytest.fixture(params=[lost, suspended, stopping, stopped], ids=lambda how: how.__name__)
def down(request, simulated):
    """The job is down, and what it had is deleted; its group stands at 9."""
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id)
    simulated.ledger.saw_checkpoint(JOB, first.flink_job_id)
    request.param(simulated, first)
    simulated.files.clear()
    simulated.completed.clear()
    simulated.committed[TOPIC, 0] = 9
    return simulated


def test_without_being_told_so_nothing_gives_it_up(down):
    with pytest.raises((RefusedError, StateError)) as refused:
        down.operate(resume_suspended=True)
    assert down.place.phase != "stopping" or down.place.stop_mode != "cancel"
    assert not down.alive()
    assert "savepoint-1 does not exist" in str(refused.value) or "mode stateless gives that up" in str(refused.value)


def test_mode_stateless_needs_an_approval_and_says_why(down):
    plan = down.plan(mode="stateless", resume_suspended=True).plan
    assert (plan.category, plan.needs_approval, plan.gives_up) == ("state_breaking", True, True)
    words = "\n".join(explain(plan))
    assert "its state is given up, since" in words
    assert "start without state, from where its consumer group stands" in words
    with pytest.raises(RefusedError, match="its state is given up"):
        down.operate(mode="stateless", resume_suspended=True)


def test_the_job_runs_again_from_where_its_group_stands(down):
    started = down.operate(mode="stateless", resume_suspended=True, approved=True)
    assert (started.restored_from, started.positions) == (None, {TOPIC: {"0": 9}})
    assert down.alive() == [started.flink_job_id] == [down.place.flink_job_id]
    assert down.committed == {(TOPIC, 0): 9}
    assert down.prepared[-1][1]


def test_a_death_on_the_way_is_gone_on_from(down):
    down.dies_at = "before"
    with pytest.raises(Died):
        down.operate("another", mode="stateless", resume_suspended=True, approved=True)
    down.dies_at = None
    started = down.operate(mode="stateless", resume_suspended=True, approved=True)
    assert (started.restored_from, started.positions) == (None, {TOPIC: {"0": 9}})
    assert down.alive() == [started.flink_job_id]


def test_what_it_began_from_counts_where_its_group_has_not_come_so_far(simulated):
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id, position=30)
    second = simulated.deploy(overrides={"least": 1})
    simulated.states.clear()
    simulated.files.clear()
    simulated.committed[TOPIC, 0] = 9
    assert second.positions == {TOPIC: {"0": 30}}
    assert simulated.operate(mode="stateless", approved=True).positions == {TOPIC: {"0": 30}}


def test_an_approval_of_abandoning_known_state_is_none_of_that(simulated):
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id)
    simulated.states.clear()
    approval = Approval("ann", simulated.place.since, simulated.plan(mode="stateless").plan)
    simulated.files.clear()
    simulated.ledger.saw_checkpoint(JOB, first.flink_job_id)
    with pytest.raises(RefusedError, match="what the job has left can't be read any more"):
        simulated.operate(mode="stateless", approved=approval)


def test_a_client_that_dies_gives_nothing_up(simulated):
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id)
    simulated.states.clear()
    simulated.vanishes = [OperationError("client process ended with status -9")]
    with pytest.raises(OperationError, match="client process ended"):
        simulated.plan(mode="stateless")
