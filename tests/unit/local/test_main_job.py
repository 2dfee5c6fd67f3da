"""Airflow's API while it is starting, or hiccuping: a function stands for it."""

import httpx
import pytest

from sluice.errors import OperationError
from sluice.local import main_job
from sluice.local.main_job import Airflow


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(main_job, "_AGAIN", 0.01)


def airflow(*answers, patience=10.0):
    waiting = list(answers)

    def answer(_request):
        given = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(given, Exception):
            raise given
        return given

    client = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    return Airflow(client, patience)


def test_a_failing_server_and_a_broken_connection_are_asked_again():
    api = airflow(httpx.Response(503), httpx.ConnectError("refused"), httpx.Response(200, json={"state": "success"}))
    assert api.ask("GET", "/x") == {"state": "success"}


@pytest.mark.parametrize(
    ("answer", "words"), [(httpx.Response(500), "status 500"), (httpx.ReadTimeout("timed out"), "timed out")]
)
def test_until_the_deadline(answer, words):
    with pytest.raises(OperationError, match=f"does not answer GET /x: {words}"):
        airflow(answer, patience=0.05).ask("GET", "/x")


def test_a_refusal_is_final():
    with pytest.raises(OperationError, match="refuses GET /x: 404 no such DAG"):
        airflow(httpx.Response(404, text="no such DAG")).ask("GET", "/x")


def test_a_run_whose_answer_was_lost_is_not_triggered_twice():
    api = airflow(
        httpx.Response(200, json={}), httpx.ReadError("cut"), httpx.Response(409, json={"detail": "exists already"})
    )
    assert main_job._trigger(api, "counts").startswith("up__")
