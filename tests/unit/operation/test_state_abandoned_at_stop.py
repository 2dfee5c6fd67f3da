"""State is abandoned at the stop, and the job or the request changes before: offsets and approvals stay right."""

from datetime import UTC, datetime

import pytest

from sluice.errors import RefusedError, StateError, UnreachableError
from sluice.operation.stop import Stop
from sluice.plan.approval import Approval
from tests.simulator.simulated import JOB, TOPIC, Died

LONGER = {"hours": 2}


@pytest.fixture
def running(simulated):
    """A job with offset 30 in its newest checkpoint, and 9 committed by its group."""
    simulated.checkpoint(simulated.deploy().flink_job_id, position=30)
    simulated.committed[TOPIC, 0] = 9
    return simulated


def fail_at_stop(simulated, monkeypatch, error, holder="a", *, has_ended=False, **request):
    """Run an operation that fails at its stop."""
    complete = Stop.complete

    def fail(self, place):
        if has_ended:
            complete(self, place)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Stop, "complete", fail)
        with pytest.raises(type(error)):
            simulated.operate(holder, overrides=LONGER, **request)


@pytest.mark.parametrize("is_readable", [True, False])
def test_job_starts_at_the_positions_of_the_savepoint_of_the_stop(running, is_readable):
    """Whether the checkpoint before it is readable or not."""
    if not is_readable:
        running.vanishes = [StateError("it does not exist")] * 3
    started = running.operate(overrides=LONGER, approved=True)
    assert started.positions == {TOPIC: {"0": 30}}
    back = running.roll_back(started.operation)
    assert (back.outcome, running.place.restored_from) == ("rolled_back", started.savepoint)


def test_unreadable_checkpoint_of_a_running_job_needs_an_approval(running):
    running.vanishes = [StateError("it does not exist")] * 3
    plan = running.plan(overrides=LONGER).plan
    assert (plan.category, plan.needs_approval, plan.gives_up) == ("state_breaking", True, False)
    assert "its newest checkpoint can't be read: it does not exist" in plan.reasons


@pytest.mark.parametrize("continued_by", ["a retry", "another holder", "a sweep", "a rollback"])
def test_offsets_are_read_again_if_the_job_recovers_before_it_is_cancelled(running, monkeypatch, continued_by):
    job = running.place.flink_job_id
    running.states[job] = "RESTARTING"
    running.retains = False
    fail_at_stop(running, monkeypatch, UnreachableError("no answer"), approved=True)
    assert running.place.positions == {TOPIC: {"0": 9}}
    running.states[job] = "RUNNING"
    running.retains = True
    running.checkpoint(job, position=50, number=2)
    running.committed[TOPIC, 0] = 50
    match continued_by:
        case "a rollback":
            back = running.roll_back(running.ledger.active(JOB).id)
            assert (
                "Its state was abandoned before: it started without state, from the consumer group's offsets"
                in back.words
            )
            assert "twice" not in back.words
        case "a sweep":
            running.operate("b", kind="rollback", target_release=1)
        case _:
            running.operate("a" if continued_by == "a retry" else "b", overrides=LONGER, approved=True)
    assert running.place.positions == {TOPIC: {"0": 50}}
    assert len(running.alive()) == 1


def test_plan_for_an_unfinished_cancel_does_not_call_it_a_savepoint(running, monkeypatch):
    running.states[running.place.flink_job_id] = "RESTARTING"
    running.retains = False
    fail_at_stop(running, monkeypatch, Died(), approved=True)
    assert any("by a cancel" in stage.words for stage in running.plan(overrides=LONGER).plan.stages)


def test_approval_to_abandon_state_does_not_cover_the_loss_of_its_positions(running, monkeypatch):
    """The approved plan says that the positions are kept; the files are deleted before the retry."""
    running.ledger.saw_checkpoint(JOB, running.place.flink_job_id)
    approval = Approval("ann", datetime.now(UTC), running.plan(overrides=LONGER).plan)
    fail_at_stop(running, monkeypatch, Died(), has_ended=True, approved=approval)
    running.files.clear()
    with pytest.raises(RefusedError, match="the job's last state can no longer be read, nor its offsets there"):
        running.operate("a", overrides=LONGER, approved=approval)
    assert running.operate("a", overrides=LONGER, approved=True).positions == {TOPIC: {"0": 9}}


def test_approval_to_abandon_unknown_state_stays_valid_after_a_checkpoint(simulated):
    job = simulated.deploy().flink_job_id
    approval = Approval("ann", datetime.now(UTC), simulated.plan(overrides=LONGER).plan)
    simulated.checkpoint(job)
    assert simulated.operate(overrides=LONGER, approved=approval).release == 2


def test_unverified_release_that_abandoned_state_can_be_deployed_again(running):
    started = running.operate(overrides=LONGER, mode="stateless", approved=True)
    running.ledger.resume(started.operation).finish("failed", "its gates could not be read")
    assert running.plan(overrides=LONGER, mode="stateless").plan.action == "none"
