import asyncio

import httpx
import pytest

from sluice.errors import FlinkError, UnreachableError
from sluice.flink import calls
from sluice.flink import client as client_module
from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.flink.models import ExceptionEntry, JobState

JOB = "f" * 32
NOT_FOUND = {
    "errors": [
        "Internal server error.",
        "<Exception on server side:\norg.apache.flink.runtime.messages.FlinkJobNotFoundException: "
        f"Could not find Flink job ({JOB})\n\tat org.apache.flink.runtime.dispatcher.Dispatcher.x(Dispatcher.java)",
    ]
}


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(client_module, "_PAUSES", (0.0, 0.0))


class Cluster:
    """Answers from a list, the last one for ever; counts the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def send(cluster: Cluster, call: calls.Call):
    with FlinkClient("http://flink", transport=httpx.MockTransport(cluster)) as client:
        return _outcome(lambda: client.send(call))


def _outcome(act):
    try:
        return act()
    except (FlinkError, UnreachableError) as error:
        return error


def test_an_answer_becomes_a_model():
    cluster = Cluster(httpx.Response(200, json={"status": "RUNNING", "new": "field"}))
    assert send(cluster, calls.status(JOB)).status is JobState.RUNNING
    assert cluster.requests[0].url == f"http://flink/jobs/{JOB}/status"


def test_an_unknown_job_is_404_even_where_flink_says_500():
    for response in (httpx.Response(500, json=NOT_FOUND), httpx.Response(404, json={"errors": ["Job x not found"]})):
        error = send(Cluster(response), calls.status(JOB))
        assert isinstance(error, FlinkError)
        assert error.status == 404


def test_another_500_is_not_an_unknown_job():
    error = send(Cluster(httpx.Response(500, json={"errors": ["Internal server error."]})), calls.status(JOB))
    assert isinstance(error, FlinkError)
    assert error.status == 500


@pytest.mark.parametrize("trouble", [httpx.ConnectError("refused"), httpx.Response(503, text="starting")])
def test_transient_trouble_is_tried_again_and_then_unreachable(trouble):
    good = httpx.Response(200, json={"status": "RUNNING"})
    assert send(Cluster(trouble, good), calls.status(JOB)).status is JobState.RUNNING
    hopeless = Cluster(trouble)
    assert isinstance(send(hopeless, calls.status(JOB)), UnreachableError)
    assert len(hopeless.requests) == 3


def test_an_answer_of_another_shape_is_an_error_that_says_so():
    for response in (httpx.Response(200, text="<html>"), httpx.Response(200, json={"status": "NEW"})):
        error = send(Cluster(response), calls.status(JOB))
        assert "another shape" in str(error)


def test_both_clients_mean_the_same():
    async def ask(cluster: Cluster):
        async with AsyncFlinkClient("http://flink", transport=httpx.MockTransport(cluster)) as client:
            return await client.send(calls.status(JOB))

    good = httpx.Response(200, json={"status": "FAILED"})
    assert asyncio.run(ask(Cluster(httpx.ConnectError("refused"), good))).status.is_terminal
    with pytest.raises(UnreachableError, match="correct flink.url"):
        asyncio.run(ask(Cluster(httpx.ConnectError("refused"))))
    with pytest.raises(FlinkError):
        asyncio.run(ask(Cluster(httpx.Response(500, json=NOT_FOUND))))


def test_an_exception_is_told_by_its_root_cause():
    trace = "a.RuntimeException: outer\n\tat x\nCaused by: b.Middle\n\tat y\nCaused by: c.Root: the reason\n\tat z\n"
    assert ExceptionEntry(timestamp=1, stacktrace=trace).words == "c.Root: the reason"
