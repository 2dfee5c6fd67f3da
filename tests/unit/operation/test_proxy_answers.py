"""The answer of a proxy instead of Flink says nothing about a job: no second job is started."""

import httpx
import pytest

from sluice.errors import UnreachableError
from tests.simulator.simulated import _ROUTES, JOB

ANSWERS = {
    "a page that is not found": httpx.Response(404, text="<html>no route</html>"),
    "nothing": httpx.Response(404),
    "a login page": httpx.Response(200, text="<html>log in</html>"),
    "a redirect": httpx.Response(302, headers={"Location": "/login"}),
    "no backend": httpx.Response(503, text="no backend"),
}


@pytest.fixture
def started(simulated):
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id)
    return first


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("mode", ["savepoint", "last-state"])
def test_job_is_not_replaced_while_a_proxy_answers_for_its_status(simulated, started, monkeypatch, answer, mode):
    with monkeypatch.context() as patched:
        patched.setitem(_ROUTES, r"GET /jobs/(\w+)/status", lambda *_: answer)
        with pytest.raises(UnreachableError):
            simulated.operate(overrides={"least": 1}, mode=mode)
        assert simulated.alive() == [started.flink_job_id]
        operation = simulated.ledger.active(JOB).id
        with pytest.raises(UnreachableError):
            simulated.roll_back(operation)
        assert simulated.alive() == [started.flink_job_id]
    # Once Flink answers again, the operation continues.
    assert simulated.operate(overrides={"least": 1}, mode=mode).restored_from
    assert simulated.twice == []


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_savepoint_is_used_after_a_proxy_answered_for_its_result(simulated, started, monkeypatch, answer):
    with monkeypatch.context() as patched:
        patched.setitem(_ROUTES, r"GET /jobs/(\w+)/savepoints/(\w+)", lambda *_: answer)
        with pytest.raises(UnreachableError):
            simulated.operate(overrides={"least": 1})
    assert "/savepoints/" in simulated.operate(overrides={"least": 1}).restored_from


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_proxy_answer_to_the_job_list_is_not_taken_for_an_empty_list(simulated, started, monkeypatch, answer):
    monkeypatch.setitem(_ROUTES, "GET /jobs/overview", lambda *_: answer)
    with pytest.raises(UnreachableError):
        simulated.operate()
    assert simulated.alive() == [started.flink_job_id]
