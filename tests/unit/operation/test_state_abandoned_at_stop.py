"""State is abandoned at the stop, and the job or the request changes before: offsets and approvals stay right."""

from datetime import UTC, datetime

import httpx
import pytest

from sluice.errors import RefusedError, StateError, UnreachableError
from sluice.plan.approval import Approval
from tests.simulator.simulated import JOB, TOPIC

LONGER = {"hours": 2}


@pytest.fixture
def running(simulated):
    """A job with offset 30 in its newest checkpoint, and 9 committed by its group."""
    simulated.cluster.checkpoint(simulated.deploy().flink_job_id, position=30)
    simulated.committed[TOPIC, 0] = 9
    return simulated


def no_answer():
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize("is_readable", [True, False])
def test_job_starts_at_the_positions_of_the_savepoint_of_the_stop(running, is_readable):
    """Whether the checkpoint before it is readable or not."""
    if not is_readable:
        running.compiler.inspect_errors = [StateError("it does not exist")] * 3
    started = running.operate(overrides=LONGER, approved=True)
    assert started.positions == {TOPIC: {"0": 30}}
    back = running.roll_back(started.operation)
    assert (back.outcome, running.place.restored_from) == ("rolled_back", started.savepoint)


def test_unreadable_checkpoint_of_a_running_job_needs_an_approval(running):
    running.compiler.inspect_errors = [StateError("it does not exist")] * 3
    plan = running.plan(overrides=LONGER).plan
    assert (plan.category, plan.needs_approval, plan.gives_up) == ("state_breaking", True, False)
    assert "its newest checkpoint can't be read: it does not exist" in plan.reasons


@pytest.mark.parametrize("continued_by", ["a retry", "another holder", "a sweep", "a rollback"])
def test_offsets_are_read_again_if_the_job_recovers_before_it_is_cancelled(running, continued_by):
    job = running.place.flink_job_id
    running.cluster.states[job] = "RESTARTING"
    running.cluster.retains_checkpoints = False
    running.cluster.at_request(r"PATCH /jobs/\w+", no_answer)
    with pytest.raises(UnreachableError):
        running.operate("a", overrides=LONGER, approved=True)
    assert running.place.positions == {TOPIC: {"0": 9}}
    running.cluster.states[job] = "RUNNING"
    running.cluster.retains_checkpoints = True
    running.cluster.checkpoint(job, position=50, number=2)
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
    assert len(running.cluster.running_jobs()) == 1


def test_plan_for_an_unfinished_cancel_does_not_call_it_a_savepoint(running):
    running.cluster.states[running.place.flink_job_id] = "RESTARTING"
    running.cluster.retains_checkpoints = False
    with running.crash("after", "stop stop"):
        running.operate("a", overrides=LONGER, approved=True)
    assert any("by a cancel" in stage.words for stage in running.plan(overrides=LONGER).plan.stages)


def test_approval_to_abandon_state_does_not_cover_the_loss_of_its_positions(running):
    """The approved plan says that the positions are kept; the files are deleted before the retry."""
    running.ledger.saw_checkpoint(JOB, running.place.flink_job_id)
    approval = Approval("ann", datetime.now(UTC), running.plan(overrides=LONGER).plan)
    with running.crash("before", "savepoint"):
        running.operate("a", overrides=LONGER, approved=approval)
    running.cluster.snapshots.clear()
    with pytest.raises(RefusedError, match="the job's last state can no longer be read, nor its offsets there"):
        running.operate("a", overrides=LONGER, approved=approval)
    assert running.operate("a", overrides=LONGER, approved=True).positions == {TOPIC: {"0": 9}}


def test_approval_to_abandon_unknown_state_stays_valid_after_a_checkpoint(simulated):
    job = simulated.deploy().flink_job_id
    approval = Approval("ann", datetime.now(UTC), simulated.plan(overrides=LONGER).plan)
    simulated.cluster.checkpoint(job)
    assert simulated.operate(overrides=LONGER, approved=approval).release == 2


def test_unverified_release_that_abandoned_state_can_be_deployed_again(running):
    started = running.operate(overrides=LONGER, mode="stateless", approved=True)
    running.ledger.resume(started.operation).finish("failed", "its gates could not be read")
    assert running.plan(overrides=LONGER, mode="stateless").plan.action == "none"
