"""What was approved is what is done, and the operation says by whom."""

from datetime import UTC, datetime

import pytest

from sluice.errors import RefusedError
from sluice.operation.start import Start
from sluice.plan.approval import Approval
from tests.support.simulated import JOB, Died, state

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def newest(simulated):
    return simulated.ledger.operations(JOB)[0]


@pytest.fixture
def approval(simulated):
    """Of a plan that loses the windows of a job that runs."""
    simulated.checkpoint(simulated.deploy().flink_job_id)
    plan = simulated.plan(overrides={"hours": 2}).plan
    assert plan.needs_approval
    return Approval("ann", AT, plan)


def die_once_stopped(simulated, approval, monkeypatch):
    """Carry out what was approved, up to the start of the new job."""

    def die(*_arguments, **_more):
        raise Died

    with monkeypatch.context() as patch:
        patch.setattr(Start, "run", die)
        with pytest.raises(Died):
            simulated.operate(overrides={"hours": 2}, approved=approval)
    assert simulated.place.phase == "stopped"


def test_the_operation_says_who_has_approved_it(simulated, approval):
    simulated.operate(overrides={"hours": 2}, approved=approval)
    assert (newest(simulated).approved_by, newest(simulated).approved_at) == ("ann", AT)


def test_going_back_from_what_was_approved_needs_an_approval_too(simulated, approval):
    simulated.settle(simulated.operate(overrides={"hours": 2}, approved=approval))
    simulated.checkpoint(simulated.place.flink_job_id)
    simulated.states[simulated.place.flink_job_id] = "FAILED"
    back = simulated.plan(kind="rollback").plan
    assert (back.kind, back.former_release, back.release, back.needs_approval) == ("rollback", 2, 1, True)
    # It comes back as it was by itself.
    assert not simulated.plan(kind="rollback", target_release=2).plan.needs_approval


def test_what_needs_no_approval_has_none(simulated):
    simulated.operate(approved=True)
    assert newest(simulated).approved_by is None


def test_what_has_changed_since_it_was_approved_is_refused_before_anything_stops(simulated, approval):
    simulated.settle(simulated.operate("meanwhile", overrides={"least": 1}))
    simulated.checkpoint(simulated.place.flink_job_id)
    operations = len(simulated.ledger.operations(JOB))
    with pytest.raises(RefusedError, match="not the plan that ann has approved: .*release 2 runs or ran, not 1"):
        simulated.operate(overrides={"hours": 2}, approved=approval)
    assert (simulated.place.phase, simulated.place.release) == ("running", 2)
    assert len(simulated.ledger.operations(JOB)) == operations


def test_state_that_has_come_since_is_not_lost_with_it(simulated, approval):
    simulated.checkpoint(simulated.place.flink_job_id, "Window", "Join", number=2)
    with pytest.raises(RefusedError, match="there is state that was not there: Join"):
        simulated.operate(overrides={"hours": 2}, approved=approval)
    assert simulated.place.phase == "running"


def test_another_plan_does_not_go_through_because_one_was_approved_that_has_stopped_the_job(
    simulated, approval, monkeypatch
):
    die_once_stopped(simulated, approval, monkeypatch)
    began = newest(simulated).id
    with pytest.raises(RefusedError, match="state would be abandoned"):
        simulated.operate(overrides={"hours": 3})
    with pytest.raises(RefusedError, match="not the plan that ann has approved: code or settings have changed"):
        simulated.operate(overrides={"hours": 3}, approved=approval)
    assert (simulated.place.phase, simulated.ledger.active(JOB).id) == ("stopped", began)
    # What it had begun goes on, and may be taken back.
    assert simulated.operate(overrides={"hours": 2}).operation == began


def test_a_retry_goes_on_with_what_was_approved_though_the_savepoint_holds_more(simulated, approval, monkeypatch):
    die_once_stopped(simulated, approval, monkeypatch)
    simulated.files[simulated.place.state_path] = state("Window", "Join")
    started = simulated.operate(overrides={"hours": 2}, approved=approval)
    assert simulated.alive() == [started.flink_job_id]
    assert newest(simulated).approved_by == "ann"
