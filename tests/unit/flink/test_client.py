import asyncio

import httpx
import pytest

from sluice.errors import FlinkError, JobNotFoundError, NotFlinkError, TriggerNotFoundError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.flink.history import ExceptionEntry
from sluice.flink.models import JobState
from tests.support.answering import answered_by

JOB = "f" * 32
NOT_FOUND = {
    "errors": [
        "Internal server error.",
        "<Exception on server side:\norg.apache.flink.runtime.messages.FlinkJobNotFoundException: "
        f"Could not find Flink job ({JOB})\n\tat org.apache.flink.runtime.dispatcher.Dispatcher.x(Dispatcher.java)",
    ]
}


class Cluster:
    """Answers from a list, then repeats the last answer; records the requests."""

    def __init__(self, *answers: httpx.Response | Exception) -> None:
        self.answers = list(answers)
        self.requests: list[httpx.Request] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.requests.append(request)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


def client_of(cluster: Cluster) -> FlinkClient:
    return FlinkClient("http://flink", exchange=answered_by(cluster), pauses=(0.0, 0.0))


def send(cluster: Cluster, call: calls.Call):
    with client_of(cluster) as client:
        return _outcome(lambda: client.send(call))


def _outcome(act):
    try:
        return act()
    except (FlinkError, UnreachableError) as error:
        return error


def test_flink_answer_is_parsed_to_a_model():
    cluster = Cluster(httpx.Response(200, json={"status": "RUNNING", "new": "field"}))
    assert send(cluster, calls.status(JOB)).status is JobState.RUNNING
    assert cluster.requests[0].url == f"http://flink/jobs/{JOB}/status"


NO_CANCEL = {"errors": ["org.apache.flink.runtime.rest.handler.RestHandlerException: Job could not be found.\n\tat x"]}


@pytest.mark.parametrize(
    ("call", "status", "body"),
    [
        (calls.status(JOB), 500, NOT_FOUND),
        (
            calls.job(JOB),
            404,
            {"errors": [f"org.apache.flink.runtime.rest.NotFoundException: Job {JOB} not found\n\tat x"]},
        ),
        (calls.cancel(JOB), 404, NO_CANCEL),
    ],
)
def test_each_answer_about_an_unknown_job_is_recognised(call, status, body):
    error = send(Cluster(httpx.Response(status, json=body)), call)
    assert isinstance(error, JobNotFoundError)
    assert error.status == 404


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({"errors": ["Unable to load requested file /bad-request."]}, 400),
        ({"errors": [f"There is no savepoint operation with triggerId={JOB} for job {JOB}."]}, 404),
        ({"errors": [f"org.apache.flink.runtime.rest.NotFoundException: Job {'e' * 32} not found\n\tat x"]}, 404),
        (NO_CANCEL, 404),
    ],
)
def test_other_404_answers_do_not_mean_an_unknown_job(body, status):
    error = send(Cluster(httpx.Response(404, json=body)), calls.status(JOB))
    assert type(error) is FlinkError
    assert error.status == status


def test_error_about_another_job_does_not_mean_an_unknown_job():
    error = send(Cluster(httpx.Response(500, json=NOT_FOUND)), calls.status("e" * 32))
    assert type(error) is UnreachableError


@pytest.mark.parametrize("call", [calls.status(JOB), calls.jobs(), calls.cancel(JOB), calls.savepoint_result(JOB, JOB)])
@pytest.mark.parametrize(
    "answer",
    [
        httpx.Response(404, text=f"<html>Job {JOB} not found</html>"),
        httpx.Response(404),
        httpx.Response(404, json={"message": f"FlinkJobNotFoundException: Could not find Flink job ({JOB})"}),
        httpx.Response(404, json={"errors": f"Job {JOB} not found"}),
        httpx.Response(302, headers={"Location": "/login"}),
        httpx.Response(200, text="<html>log in</html>"),
        httpx.Response(410, text="gone"),
    ],
)
def test_answer_of_another_server_counts_as_unreachable(call, answer):
    cluster = Cluster(answer)
    error = send(cluster, call)
    assert type(error) is NotFlinkError
    assert isinstance(error, UnreachableError)
    assert error.status == answer.status_code
    # Such an answer may be transient, for instance if a proxy has no route yet.
    assert len(cluster.requests) == 3


def test_answer_about_another_job_is_refused():
    other = {"jid": "e" * 32, "name": "x", "state": "RUNNING", "start-time": 1, "now": 2, "vertices": []}
    for call in (calls.job(JOB), calls.job_config(JOB)):
        error = send(Cluster(httpx.Response(200, json=other)), call)
        assert isinstance(error, NotFlinkError)
        assert f"the answer is about Flink job {'e' * 32}" in str(error)


def test_unknown_trigger_has_its_own_error():
    forgotten = {"errors": [f"There is no savepoint operation with triggerId={'d' * 32} for job {JOB}."]}
    error = send(Cluster(httpx.Response(404, json=forgotten)), calls.savepoint_result(JOB, "d" * 32))
    assert isinstance(error, TriggerNotFoundError)
    for body in (forgotten, NO_CANCEL):
        assert type(send(Cluster(httpx.Response(404, json=body)), calls.savepoint_result(JOB, "c" * 32))) is FlinkError


TIMED_OUT = {"errors": ["Internal server error.", "<Exception on server side:\nakka.pattern.AskTimeoutException: late"]}


@pytest.mark.parametrize(
    "trouble",
    [httpx.ConnectError("refused"), httpx.Response(503, text="starting"), httpx.Response(500, json=TIMED_OUT)],
)
def test_transient_errors_are_retried_and_then_unreachable(trouble):
    good = httpx.Response(200, json={"status": "RUNNING"})
    assert send(Cluster(trouble, good), calls.status(JOB)).status is JobState.RUNNING
    hopeless = Cluster(trouble)
    assert isinstance(send(hopeless, calls.status(JOB)), UnreachableError)
    assert len(hopeless.requests) == 3


@pytest.mark.parametrize(
    ("response", "message"),
    [
        (httpx.Response(200, text="<html>"), "does not answer as Flink does: 200 for GET"),
        (httpx.Response(200, json={"status": "NEW"}), "the answer is not as Flink 2.3 gives it"),
    ],
)
def test_malformed_flink_answer_is_an_error(response, message):
    assert message in str(send(Cluster(response), calls.status(JOB)))


def test_async_client_behaves_as_the_blocking_one():
    async def ask(cluster: Cluster):
        async with AsyncFlinkClient(client_of(cluster)) as client:
            return await client.send(calls.status(JOB))

    good = httpx.Response(200, json={"status": "FAILED"})
    assert asyncio.run(ask(Cluster(httpx.ConnectError("refused"), good))).status.is_terminal
    with pytest.raises(UnreachableError, match="correct flink.url"):
        asyncio.run(ask(Cluster(httpx.ConnectError("refused"))))
    with pytest.raises(FlinkError):
        asyncio.run(ask(Cluster(httpx.Response(500, json=NOT_FOUND))))


def test_metric_requests_fit_flinks_request_line():
    names = [f"{subtask}.Source__a[1].split.größe_[%]-{subtask}.watermark.currentWatermark" for subtask in range(200)]
    cluster = Cluster(httpx.Response(200, json=[]))
    for call in calls.aggregates(JOB, JOB, names):
        send(cluster, call)
    asked = [name for request in cluster.requests for name in request.url.params["get"].split(",")]
    assert "".join(asked) == "".join(names)
    assert all(len(request.url.raw_path) < 3_800 for request in cluster.requests)
    assert len(cluster.requests) > 1


def test_flink_exception_is_summarised_by_its_root_cause():
    trace = "a.RuntimeException: outer\n\tat x\nCaused by: b.Middle\n\tat y\nCaused by: c.Root: the reason\n\tat z\n"
    assert ExceptionEntry(timestamp=1, stacktrace=trace).words == "c.Root: the reason"


@pytest.mark.parametrize(("status", "body"), [(401, ""), (403, "<html>Forbidden</html>")])
def test_denied_access_names_the_status_and_the_next_step(status, body):
    error = send(Cluster(httpx.Response(status, text=body)), calls.job(JOB))
    assert type(error) is FlinkError
    assert str(error).startswith(f"Flink at http://flink denies access: {status} for GET /jobs/{JOB}: ")
    assert error.remedy.startswith("set a login with the permission in the Flink connection, or in flink.url of the")
