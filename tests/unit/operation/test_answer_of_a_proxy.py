"""What a proxy answers in Flink's place says nothing about a job: no successor is started beside it."""

import httpx
import pytest

from sluice.errors import UnreachableError
from tests.support.simulated import _ROUTES, JOB

ANSWERS = {
    "a page that is not found": httpx.Response(404, text="<html>no route</html>"),
    "nothing": httpx.Response(404),
    "a login page": httpx.Response(200, text="<html>log in</html>"),
    "a redirect": httpx.Response(302, headers={"Location": "/login"}),
    "no backend": httpx.Response(503, text="no backend"),
}


@pytest.fixture
def runs(simulated):
    started = simulated.deploy()
    simulated.checkpoint(started.flink_job_id)
    return started


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("mode", ["savepoint", "last-state"])
def test_job_whose_state_a_proxy_answers_for_runs_on_and_alone(simulated, runs, monkeypatch, answer, mode):
    with monkeypatch.context() as patched:
        patched.setitem(_ROUTES, r"GET /jobs/(\w+)/status", lambda *_: answer)
        with pytest.raises(UnreachableError):
            simulated.operate(overrides={"least": 1}, mode=mode)
        assert simulated.alive() == [runs.flink_job_id]
        operation = simulated.ledger.active(JOB).id
        with pytest.raises(UnreachableError):
            simulated.roll_back(operation)
        assert simulated.alive() == [runs.flink_job_id]
    # Once Flink answers again, the operation goes on.
    assert simulated.operate(overrides={"least": 1}, mode=mode).restored_from
    assert simulated.twice == []


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_savepoint_whose_result_a_proxy_answers_for_is_not_taken_for_forgotten(simulated, runs, monkeypatch, answer):
    with monkeypatch.context() as patched:
        patched.setitem(_ROUTES, r"GET /jobs/(\w+)/savepoints/(\w+)", lambda *_: answer)
        with pytest.raises(UnreachableError):
            simulated.operate(overrides={"least": 1})
    assert "/savepoints/" in simulated.operate(overrides={"least": 1}).restored_from


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_list_of_jobs_that_a_proxy_answers_with_is_no_empty_one(simulated, runs, monkeypatch, answer):
    monkeypatch.setitem(_ROUTES, "GET /jobs/overview", lambda *_: answer)
    with pytest.raises(UnreachableError):
        simulated.operate()
    assert simulated.alive() == [runs.flink_job_id]
