"""State that is given up, and what comes between: no record twice, and nobody asked for less than is done."""

from datetime import UTC, datetime

import pytest

from sluice.errors import RefusedError, StateError, UnreachableError
from sluice.operation.stop import Stop
from sluice.plan.approval import Approval
from tests.support.simulated import JOB, TOPIC, Died

LONGER = {"hours": 2}


@pytest.fixture
def running(simulated):
    """A job whose newest checkpoint stands at 30, and its group at 9."""
    simulated.checkpoint(simulated.deploy().flink_job_id, position=30)
    simulated.committed[TOPIC, 0] = 9
    return simulated


def fails_to_stop(simulated, monkeypatch, error, holder="a", *, has_ended=False, **request):
    """An operation that comes no further than its stop."""
    complete = Stop.complete

    def fails(self, place):
        if has_ended:
            complete(self, place)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(Stop, "complete", fails)
        with pytest.raises(type(error)):
            simulated.operate(holder, overrides=LONGER, **request)


@pytest.mark.parametrize("is_readable", [True, False])
def test_a_savepoint_that_is_taken_is_what_is_gone_on_from(running, is_readable):
    """Whether the checkpoint before it could be read or not."""
    if not is_readable:
        running.vanishes = [StateError("it does not exist")] * 3
    started = running.operate(overrides=LONGER, approved=True)
    assert started.positions == {TOPIC: {"0": 30}}
    back = running.roll_back(started.operation)
    assert (back.outcome, running.place.restored_from) == ("rolled_back", started.savepoint)


def test_what_can_not_be_read_of_a_job_that_runs_needs_an_approval(running):
    running.vanishes = [StateError("it does not exist")] * 3
    plan = running.plan(overrides=LONGER).plan
    assert (plan.category, plan.needs_approval, plan.gives_up) == ("state_breaking", True, False)
    assert "its newest checkpoint tells nothing: it does not exist" in plan.reasons


@pytest.mark.parametrize("goes_on", ["a retry", "another holder", "a sweep", "the way back"])
def test_a_job_that_gets_well_before_it_is_cancelled_is_gone_on_from_where_it_came_to(running, monkeypatch, goes_on):
    job = running.place.flink_job_id
    running.states[job] = "RESTARTING"
    running.retains = False
    fails_to_stop(running, monkeypatch, UnreachableError("no answer"), approved=True)
    assert running.place.positions == {TOPIC: {"0": 9}}
    running.states[job] = "RUNNING"
    running.retains = True
    running.checkpoint(job, position=50, number=2)
    running.committed[TOPIC, 0] = 50
    match goes_on:
        case "the way back":
            back = running.roll_back(running.ledger.active(JOB).id)
            assert "Its state was given up before: it runs without, from where its consumer group" in back.words
            assert "twice" not in back.words
        case "a sweep":
            running.operate("b", kind="rollback", target_release=1)
        case _:
            running.operate("a" if goes_on == "a retry" else "b", overrides=LONGER, approved=True)
    assert running.place.positions == {TOPIC: {"0": 50}}
    assert len(running.alive()) == 1


def test_a_cancel_that_goes_on_is_not_called_a_savepoint(running, monkeypatch):
    running.states[running.place.flink_job_id] = "RESTARTING"
    running.retains = False
    fails_to_stop(running, monkeypatch, Died(), approved=True)
    assert any("by a cancel" in stage.words for stage in running.plan(overrides=LONGER).plan.stages)


def test_an_approval_to_abandon_state_is_none_to_forget_where_the_job_stood(running, monkeypatch):
    """Its files are gone when a retry comes: whoever has approved it was told that its positions go on."""
    running.ledger.saw_checkpoint(JOB, running.place.flink_job_id)
    approval = Approval("ann", datetime.now(UTC), running.plan(overrides=LONGER).plan)
    fails_to_stop(running, monkeypatch, Died(), has_ended=True, approved=approval)
    running.files.clear()
    with pytest.raises(RefusedError, match="what the job has left can't be read any more"):
        running.operate("a", overrides=LONGER, approved=approval)
    assert running.operate("a", overrides=LONGER, approved=True).positions == {TOPIC: {"0": 9}}


def test_who_has_approved_to_abandon_what_nobody_had_seen_is_not_asked_again(simulated):
    job = simulated.deploy().flink_job_id
    approval = Approval("ann", datetime.now(UTC), simulated.plan(overrides=LONGER).plan)
    simulated.checkpoint(job)
    assert simulated.operate(overrides=LONGER, approved=approval).release == 2


def test_what_has_abandoned_state_and_was_not_proven_can_be_deployed_again(running):
    started = running.operate(overrides=LONGER, mode="stateless", approved=True)
    running.ledger.resume(started.operation).finish("failed", "nobody could ask its gates")
    assert running.plan(overrides=LONGER, mode="stateless").plan.action == "none"
