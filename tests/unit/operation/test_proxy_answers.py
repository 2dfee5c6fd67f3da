"""The answer of a proxy instead of Flink says nothing about a job: no second job is started."""

import httpx
import pytest

from sluice.errors import UnreachableError
from tests.simulator.simulated import JOB

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
    simulated.cluster.checkpoint(first.flink_job_id)
    return first


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("mode", ["savepoint", "last-state"])
def test_job_is_not_replaced_while_a_proxy_answers_for_its_status(simulated, started, answer, mode):
    simulated.cluster.answers[r"GET /jobs/\w+/status"] = lambda: answer
    with pytest.raises(UnreachableError):
        simulated.operate(overrides={"least": 1}, mode=mode)
    assert simulated.cluster.running_jobs() == [started.flink_job_id]
    operation = simulated.ledger.active(JOB).id
    with pytest.raises(UnreachableError):
        simulated.roll_back(operation)
    assert simulated.cluster.running_jobs() == [started.flink_job_id]
    simulated.cluster.answers.clear()
    # Once Flink answers again, the operation continues.
    assert simulated.operate(overrides={"least": 1}, mode=mode).restored_from
    assert simulated.cluster.concurrent_jobs == []


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_savepoint_is_used_after_a_proxy_answered_for_its_result(simulated, started, answer):
    simulated.cluster.answers[r"GET /jobs/\w+/savepoints/\w+"] = lambda: answer
    with pytest.raises(UnreachableError):
        simulated.operate(overrides={"least": 1})
    simulated.cluster.answers.clear()
    assert "/savepoints/" in simulated.operate(overrides={"least": 1}).restored_from


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_proxy_answer_to_the_job_list_is_not_taken_for_an_empty_list(simulated, started, answer):
    simulated.cluster.answers["GET /jobs/overview"] = lambda: answer
    with pytest.raises(UnreachableError):
        simulated.operate()
    assert simulated.cluster.running_jobs() == [started.flink_job_id]
