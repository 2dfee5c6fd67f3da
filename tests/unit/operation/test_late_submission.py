"""A submission without an answer reaches the cluster late: two jobs never run at once, and the placed one stays."""

import httpx
import pytest

from sluice.errors import OperationError, UnreachableError
from sluice.operation.driver import retry_on_conflict
from sluice.operation.start import ClusterTimeouts
from tests.simulator.simulated import _ROUTES, JOB, Died

POINTS = range(14)
"""Requests to the cluster from the loss to the end of the rollback, and some more."""


@pytest.fixture(autouse=True)
def no_timeouts(monkeypatch):
    monkeypatch.setattr(ClusterTimeouts, "__init__", lambda self: vars(self).update(shown=0.0, arrives=0.0))


@pytest.fixture
def running(simulated):
    """Release 1, which runs and has state."""
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id)
    return first


def deploy_unanswered(simulated, **request):
    """Deploy with a submission that gets no answer; the operation."""
    simulated.loses += 1
    with pytest.raises(OperationError, match="submit took longer"):
        simulated.operate(**request)
    return simulated.ledger.active(JOB).id


def only_placed_release_runs(simulated):
    [alive] = simulated.alive()
    place = simulated.place
    return (alive, simulated.releases[alive], place.phase) == (place.flink_job_id, place.release, "running")


@pytest.mark.parametrize("point", POINTS)
def test_late_release_never_runs_beside_the_former_one_during_a_rollback(simulated, running, point):
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    simulated.arrives_in = point
    back = simulated.roll_back(operation)
    assert (back.outcome, simulated.place.release) == ("rolled_back", 1)
    while simulated.under_way:
        simulated.arrive()
    assert simulated.twice == []
    assert only_placed_release_runs(simulated)


def test_former_release_takes_the_id_of_the_unanswered_submission(simulated, running):
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    unanswered = simulated.place.flink_job_id
    assert simulated.roll_back(operation).flink_job_id == unanswered
    assert [(order.flink_job_id, order.release) for order in simulated.orders[1:]] == [(unanswered, 2), (unanswered, 1)]
    # Flink has confirmed this submission: the next job gets a new id.
    assert simulated.deploy(overrides={"least": 3}).flink_job_id != unanswered


def test_former_release_takes_a_new_id_once_the_late_one_has_ended(simulated, running):
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    late = simulated.place.flink_job_id
    simulated.arrive()
    back = simulated.roll_back(operation)
    assert (simulated.states[late], simulated.alive()) == ("CANCELED", [back.flink_job_id])


@pytest.mark.parametrize("point", POINTS)
def test_submissions_that_all_get_no_answer_leave_one_job_at_most(simulated, running, point):
    """Neither the submission of the new release nor that of the former one is answered; then another deploy runs."""
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    simulated.loses = 1
    simulated.arrives_in = point
    simulated.roll_back(operation)
    simulated.operate("next", clear_overrides=True)
    while simulated.under_way:
        simulated.arrive()
    assert simulated.twice == []
    assert only_placed_release_runs(simulated)


@pytest.mark.parametrize("first", [0, 1])
def test_placed_release_runs_whichever_unanswered_submission_arrives_first(simulated, running, first):
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    simulated.loses = 1
    assert simulated.roll_back(operation).outcome == "failed"
    assert len({order.flink_job_id for order in simulated.under_way}) == 1
    simulated.under_way.insert(0, simulated.under_way.pop(first))
    simulated.arrive()
    simulated.arrive()
    started = simulated.operate("next", kind="rollback", target_release=1)
    assert started.unchanged is (first == 1)
    assert simulated.twice == []
    assert only_placed_release_runs(simulated)
    assert simulated.place.release == 1


def test_state_of_a_job_with_a_shared_id_is_not_given_to_another_release(simulated, running):
    """Release 2 started late, made a checkpoint and was lost; release 1 continues from its own state."""
    operation = deploy_unanswered(simulated, overrides={"least": 1})
    simulated.loses = 1
    simulated.roll_back(operation)
    own = simulated.place.restored_from
    simulated.checkpoint(simulated.place.flink_job_id)
    started = simulated.operate("next", kind="rollback", target_release=1)
    assert started.restored_from == own


@pytest.mark.parametrize("point", POINTS)
def test_first_release_that_arrives_during_a_retry_runs_once(simulated, point):
    deploy_unanswered(simulated)
    simulated.arrives_in = point
    retry_on_conflict(simulated.operate, print)
    while simulated.under_way:
        simulated.arrive()
    assert simulated.twice == []
    assert only_placed_release_runs(simulated)


@pytest.mark.parametrize("point", range(4))
def test_next_process_uses_the_id_of_a_submission_without_an_answer(simulated, running, point):
    simulated.dies_at = "before"
    with pytest.raises(Died):
        simulated.operate("crashed", overrides={"least": 1})
    simulated.dies_at, unanswered = None, simulated.place.flink_job_id
    simulated.under_way = [simulated.orders[-1].model_copy(update={"flink_job_id": unanswered, "release": 2})]
    simulated.arrives_in = point
    retry_on_conflict(lambda: simulated.operate("next", overrides={"least": 2}), print)
    assert simulated.twice == []
    assert only_placed_release_runs(simulated)


def test_job_that_flink_omits_from_its_list_is_not_started_again(simulated, running, monkeypatch):
    """Flink omits a job from its list while the job's JobMaster does not answer."""
    monkeypatch.setitem(_ROUTES, "GET /jobs/overview", lambda *_: httpx.Response(200, json={"jobs": []}))
    with pytest.raises(UnreachableError, match="out of its list of jobs, and by its id it is RUNNING"):
        simulated.operate(overrides={"least": 1})
    assert simulated.alive() == [running.flink_job_id]
