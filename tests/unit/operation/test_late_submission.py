"""A submission that was given up comes to the cluster later: at no moment do two jobs run, and the right one stays."""

import httpx
import pytest

from sluice.errors import OperationError, UnreachableError
from sluice.operation.driver import retry_on_conflict
from sluice.operation.start import ClusterTimeouts
from tests.support.simulated import _ROUTES, JOB, Died

POINTS = range(14)
"""Requests to the cluster from the loss to the end of the way back, and some more."""


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(ClusterTimeouts, "__init__", lambda self: vars(self).update(shown=0.0, arrives=0.0))


@pytest.fixture
def runs(simulated):
    """Release 1 runs, with state."""
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id)
    return first


def give_up(simulated, **request):
    """A deploy whose submission gets no answer; its operation."""
    simulated.loses += 1
    with pytest.raises(OperationError, match="submit took longer"):
        simulated.operate(**request)
    return simulated.ledger.active(JOB).id


def only_the_placed_release_runs(simulated):
    [alive] = simulated.alive()
    place = simulated.place
    return (alive, simulated.releases[alive], place.phase) == (place.flink_job_id, place.release, "running")


@pytest.mark.parametrize("point", POINTS)
def test_release_that_arrives_during_a_rollback_never_runs_beside_the_former_one(simulated, runs, point):
    operation = give_up(simulated, overrides={"least": 1})
    simulated.arrives_in = point
    back = simulated.roll_back(operation)
    assert (back.outcome, simulated.place.release) == ("rolled_back", 1)
    while simulated.under_way:
        simulated.arrive()
    assert simulated.twice == []
    assert only_the_placed_release_runs(simulated)


def test_former_release_takes_the_id_of_the_unanswered_submission(simulated, runs):
    operation = give_up(simulated, overrides={"least": 1})
    unanswered = simulated.place.flink_job_id
    assert simulated.roll_back(operation).flink_job_id == unanswered
    assert [(order.flink_job_id, order.release) for order in simulated.orders[1:]] == [(unanswered, 2), (unanswered, 1)]
    # Flink has answered for it: the next job has an id of its own.
    assert simulated.deploy(overrides={"least": 3}).flink_job_id != unanswered


def test_former_release_takes_a_new_id_once_the_late_one_has_ended(simulated, runs):
    operation = give_up(simulated, overrides={"least": 1})
    late = simulated.place.flink_job_id
    simulated.arrive()
    back = simulated.roll_back(operation)
    assert (simulated.states[late], simulated.alive()) == ("CANCELED", [back.flink_job_id])


@pytest.mark.parametrize("point", POINTS)
def test_submissions_that_all_get_no_answer_leave_one_job_at_most(simulated, runs, point):
    """Neither that of the new release nor that of the former one; then somebody deploys again."""
    operation = give_up(simulated, overrides={"least": 1})
    simulated.loses = 1
    simulated.arrives_in = point
    simulated.roll_back(operation)
    simulated.operate("next", clear_overrides=True)
    while simulated.under_way:
        simulated.arrive()
    assert simulated.twice == []
    assert only_the_placed_release_runs(simulated)


@pytest.mark.parametrize("first", [0, 1])
def test_whichever_of_two_unanswered_submissions_arrives_the_placed_release_runs_in_the_end(simulated, runs, first):
    operation = give_up(simulated, overrides={"least": 1})
    simulated.loses = 1
    assert simulated.roll_back(operation).outcome == "failed"
    assert len({order.flink_job_id for order in simulated.under_way}) == 1
    simulated.under_way.insert(0, simulated.under_way.pop(first))
    simulated.arrive()
    simulated.arrive()
    started = simulated.operate("next", kind="rollback", target_release=1)
    assert started.unchanged is (first == 1)
    assert simulated.twice == []
    assert only_the_placed_release_runs(simulated)
    assert simulated.place.release == 1


def test_a_job_under_a_shared_id_gives_no_state_to_another_release(simulated, runs):
    """Release 2 came up, made a checkpoint and was lost; release 1 goes on from its own state."""
    operation = give_up(simulated, overrides={"least": 1})
    simulated.loses = 1
    simulated.roll_back(operation)
    own = simulated.place.restored_from
    simulated.checkpoint(simulated.place.flink_job_id)
    started = simulated.operate("next", kind="rollback", target_release=1)
    assert started.restored_from == own


@pytest.mark.parametrize("point", POINTS)
def test_first_release_that_arrives_during_a_retry_runs_once(simulated, point):
    give_up(simulated)
    simulated.arrives_in = point
    retry_on_conflict(simulated.operate, print)
    while simulated.under_way:
        simulated.arrive()
    assert simulated.twice == []
    assert only_the_placed_release_runs(simulated)


@pytest.mark.parametrize("point", range(4))
def test_a_process_that_dies_after_a_submission_without_an_answer_leaves_the_id_to_the_next_one(simulated, runs, point):
    simulated.dies_at = "before"
    with pytest.raises(Died):
        simulated.operate("gone", overrides={"least": 1})
    simulated.dies_at, unanswered = None, simulated.place.flink_job_id
    simulated.under_way = [simulated.orders[-1].model_copy(update={"flink_job_id": unanswered, "release": 2})]
    simulated.arrives_in = point
    retry_on_conflict(lambda: simulated.operate("next", overrides={"least": 2}), print)
    assert simulated.twice == []
    assert only_the_placed_release_runs(simulated)


def test_a_job_that_flink_leaves_out_of_its_list_is_not_started_again(simulated, runs, monkeypatch):
    """Its JobMaster does not answer: Flink then lists the others."""
    monkeypatch.setitem(_ROUTES, "GET /jobs/overview", lambda *_: httpx.Response(200, json={"jobs": []}))
    with pytest.raises(UnreachableError, match="out of its list of jobs, and by its id it is RUNNING"):
        simulated.operate(overrides={"least": 1})
    assert simulated.alive() == [runs.flink_job_id]
