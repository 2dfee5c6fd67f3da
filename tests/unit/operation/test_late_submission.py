"""A submission without an answer reaches the cluster late: two jobs never run at once, and the placed one stays."""

import httpx
import pytest

from sluice.errors import OperationError, UnreachableError
from sluice.operation.driver import retry_on_conflict
from tests.simulator.cluster import Died
from tests.simulator.simulated import JOB

POINTS = range(14)
"""Requests to the cluster from the loss to the end of the rollback, and some more."""


@pytest.fixture
def running(simulated):
    """Release 1, which runs and has state."""
    first = simulated.deploy()
    simulated.cluster.checkpoint(first.flink_job_id)
    return first


def deploy_unanswered(simulated, **request):
    """Deploy with a submission that gets no answer; the operation."""
    simulated.cluster.lost_answers += 1
    with pytest.raises(OperationError, match="submit took longer"):
        simulated.operate(**request)
    return simulated.ledger.active(JOB).id


def only_placed_release_runs(simulated):
    [alive] = simulated.cluster.running_jobs()
    place = simulated.place
    return (alive, simulated.cluster.releases[alive], place.phase) == (place.flink_job_id, place.release, "running")


@pytest.mark.parametrize("point", POINTS)
def test_late_release_never_runs_beside_the_former_one_during_a_rollback(simulated, running, point):
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    simulated.cluster.delivered_after = point
    back = simulated.roll_back(operation)
    assert (back.outcome, simulated.place.release) == ("rolled_back", 1)
    while simulated.cluster.pending:
        simulated.cluster.deliver()
    assert simulated.cluster.concurrent_jobs == []
    assert only_placed_release_runs(simulated)


def test_former_release_takes_the_id_of_the_unanswered_submission(simulated, running):
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    unanswered = simulated.place.flink_job_id
    assert simulated.roll_back(operation).flink_job_id == unanswered
    assert [(order.flink_job_id, order.release) for order in simulated.cluster.submissions[1:]] == [
        (unanswered, 2),
        (unanswered, 1),
    ]
    # Flink has confirmed this submission: the next job gets a new id.
    assert simulated.deploy(overrides={"least": 3}).flink_job_id != unanswered


def test_former_release_takes_a_new_id_once_the_late_one_has_ended(simulated, running):
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    late = simulated.place.flink_job_id
    simulated.cluster.deliver()
    back = simulated.roll_back(operation)
    assert (simulated.cluster.states[late], simulated.cluster.running_jobs()) == ("CANCELED", [back.flink_job_id])


@pytest.mark.parametrize("point", POINTS)
def test_submissions_that_all_get_no_answer_leave_one_job_at_most(simulated, running, point):
    """Neither the submission of the new release nor that of the former one is answered; then another deploy runs."""
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    simulated.cluster.lost_answers = 1
    simulated.cluster.delivered_after = point
    simulated.roll_back(operation)
    simulated.operate("next", clear_overrides=True)
    while simulated.cluster.pending:
        simulated.cluster.deliver()
    assert simulated.cluster.concurrent_jobs == []
    assert only_placed_release_runs(simulated)


@pytest.mark.parametrize("first", [0, 1])
def test_placed_release_runs_whichever_unanswered_submission_arrives_first(simulated, running, first):
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    simulated.cluster.lost_answers = 1
    assert simulated.roll_back(operation).outcome == "failed"
    assert len({order.flink_job_id for order in simulated.cluster.pending}) == 1
    simulated.cluster.pending.insert(0, simulated.cluster.pending.pop(first))
    simulated.cluster.deliver()
    simulated.cluster.deliver()
    started = simulated.operate("next", kind="rollback", target_release=1)
    assert started.unchanged is (first == 1)
    assert simulated.cluster.concurrent_jobs == []
    assert only_placed_release_runs(simulated)
    assert simulated.place.release == 1


def test_state_of_a_job_with_a_shared_id_is_not_given_to_another_release(simulated, running):
    """Release 2 started late, made a checkpoint and was lost; release 1 continues from its own state."""
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    simulated.cluster.lost_answers = 1
    simulated.roll_back(operation)
    own = simulated.place.restored_from
    simulated.cluster.checkpoint(simulated.place.flink_job_id)
    started = simulated.operate("next", kind="rollback", target_release=1)
    assert started.restored_from == own


@pytest.mark.parametrize("point", POINTS)
def test_first_release_that_arrives_during_a_retry_runs_once(simulated, point):
    deploy_unanswered(simulated)
    simulated.cluster.delivered_after = point
    retry_on_conflict(simulated.operate, print)
    while simulated.cluster.pending:
        simulated.cluster.deliver()
    assert simulated.cluster.concurrent_jobs == []
    assert only_placed_release_runs(simulated)


@pytest.mark.parametrize("point", range(4))
def test_next_process_uses_the_id_of_a_submission_without_an_answer(simulated, running, point):
    simulated.cluster.dies_at_submit = "before"
    with pytest.raises(Died):
        simulated.operate("crashed", overrides={"least": 1})
    simulated.cluster.dies_at_submit, unanswered = None, simulated.place.flink_job_id
    simulated.cluster.pending = [
        simulated.cluster.submissions[-1].model_copy(update={"flink_job_id": unanswered, "release": 2})
    ]
    simulated.cluster.delivered_after = point
    retry_on_conflict(lambda: simulated.operate("next", overrides={"least": 2}), print)
    assert simulated.cluster.concurrent_jobs == []
    assert only_placed_release_runs(simulated)


def test_job_that_flink_omits_from_its_list_is_not_started_again(simulated, running):
    """Flink omits a job from its list while the job's JobMaster does not answer."""
    simulated.cluster.answers["GET /jobs/overview"] = lambda: httpx.Response(200, json={"jobs": []})
    with pytest.raises(UnreachableError, match="out of its list of jobs, and by its id it is RUNNING"):
        simulated.operate(overrides={"least": 1})
    assert simulated.cluster.running_jobs() == [running.flink_job_id]
