"""An operation does no more than was approved, and records who approved it."""

from datetime import UTC, datetime

import pytest

from sluice.errors import RefusedError
from sluice.plan.approval import Approval
from tests.simulator.simulated import JOB

AT = datetime(2026, 1, 31, 12, tzinfo=UTC)


def newest(simulated):
    return simulated.ledger.operations(JOB)[0]


@pytest.fixture
def approval(simulated):
    """The approval of a plan that loses the windows of a running job."""
    simulated.cluster.checkpoint(simulated.deploy().flink_job_id)
    plan = simulated.plan(overrides={"hours": 2}).plan
    assert plan.needs_approval
    return Approval("ann", AT, plan)


def crash_after_stop(simulated, approval):
    """Carry out the approved plan, and crash before the new job starts."""
    with simulated.crash("after", "stop stopped"):
        simulated.operate(overrides={"hours": 2}, approved=approval)
    assert simulated.place.phase == "stopped"


def test_operation_records_who_approved_it_and_when(simulated, approval):
    simulated.operate(overrides={"hours": 2}, approved=approval)
    assert (newest(simulated).approved_by, newest(simulated).approved_at) == ("ann", AT)


def test_rollback_of_a_release_that_abandoned_state_needs_an_approval(simulated, approval):
    simulated.settle(simulated.operate(overrides={"hours": 2}, approved=approval))
    simulated.cluster.checkpoint(simulated.place.flink_job_id)
    simulated.cluster.states[simulated.place.flink_job_id] = "FAILED"
    back = simulated.plan(kind="rollback").plan
    assert (back.kind, back.former_release, back.release, back.needs_approval) == ("rollback", 2, 1, True)
    # A restart of release 2 itself needs none.
    assert not simulated.plan(kind="rollback", target_release=2).plan.needs_approval


def test_approval_is_not_recorded_for_a_plan_that_needs_none(simulated):
    simulated.operate(approved=True)
    assert newest(simulated).approved_by is None


def test_approval_is_refused_before_the_stop_if_another_release_runs_now(simulated, approval):
    simulated.settle(simulated.operate("other", overrides={"least": 1}))
    simulated.cluster.checkpoint(simulated.place.flink_job_id)
    operations = len(simulated.ledger.operations(JOB))
    with pytest.raises(RefusedError, match="not the plan that ann has approved: .*release 2 runs or ran, not 1"):
        simulated.operate(overrides={"hours": 2}, approved=approval)
    assert (simulated.place.phase, simulated.place.release) == ("running", 2)
    assert len(simulated.ledger.operations(JOB)) == operations


def test_approval_does_not_cover_state_that_appeared_after_it(simulated, approval):
    simulated.cluster.checkpoint(simulated.place.flink_job_id, "Window", "Join", number=2)
    with pytest.raises(RefusedError, match="there is state that the approved plan did not have: Join"):
        simulated.operate(overrides={"hours": 2}, approved=approval)
    assert simulated.place.phase == "running"


def test_approval_of_an_unfinished_operation_does_not_cover_another_plan(simulated, approval):
    crash_after_stop(simulated, approval)
    begun = newest(simulated).id
    with pytest.raises(RefusedError, match="state would be abandoned"):
        simulated.operate(overrides={"hours": 3})
    with pytest.raises(RefusedError, match="not the plan that ann has approved: code or settings have changed"):
        simulated.operate(overrides={"hours": 3}, approved=approval)
    assert (simulated.place.phase, simulated.ledger.active(JOB).id) == ("stopped", begun)
    # The unfinished operation can still be continued.
    assert simulated.operate(overrides={"hours": 2}).operation == begun


def test_approval_covers_a_retry_although_the_savepoint_has_more_operators(simulated, approval):
    crash_after_stop(simulated, approval)
    simulated.cluster.snapshots[simulated.place.state_path] = simulated.cluster.snapshot("Window", "Join")
    started = simulated.operate(overrides={"hours": 2}, approved=approval)
    assert simulated.cluster.running_jobs() == [started.flink_job_id]
    assert newest(simulated).approved_by == "ann"
