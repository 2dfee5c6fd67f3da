"""Airflow's API while it starts or fails, by a function as fake server."""

import json
from pathlib import Path
from types import SimpleNamespace

import httpx
import pytest
from typer.testing import CliRunner

from sluice.errors import ConfigError, OperationError
from sluice.fleet.rows import JobStatus
from sluice.local import __main__, main_job
from sluice.local.main_job import Airflow


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(main_job, "_PAUSE", 0.01)


def airflow(*answers, patience=10.0):
    waiting = list(answers)

    def answer(_request):
        given = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if isinstance(given, Exception):
            raise given
        return given

    client = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    return Airflow(client, Path("/logs"), patience)


def test_server_errors_and_broken_connections_are_retried():
    api = airflow(httpx.Response(503), httpx.ConnectError("refused"), httpx.Response(200, json={"state": "success"}))
    assert api.ask("GET", "/x") == {"state": "success"}


@pytest.mark.parametrize(
    ("answer", "words"), [(httpx.Response(500), "status 500"), (httpx.ReadTimeout("timed out"), "timed out")]
)
def test_retries_end_at_the_deadline(answer, words):
    with pytest.raises(OperationError, match=f"does not answer GET /x: {words}; see /logs/airflow"):
        airflow(answer, patience=0.05).ask("GET", "/x")


def test_a_refused_request_is_not_retried():
    with pytest.raises(OperationError, match="refuses GET /x: 404 no such DAG"):
        airflow(httpx.Response(404, text="no such DAG")).ask("GET", "/x")


def test_a_run_whose_response_was_lost_is_not_triggered_twice():
    api = airflow(
        httpx.Response(200, json={}), httpx.ReadError("cut"), httpx.Response(409, json={"detail": "exists already"})
    )
    assert main_job._trigger(api, "counts").startswith("up__")


def test_a_broken_file_is_reported_after_the_other_jobs_run(monkeypatch, tmp_path):
    monkeypatch.setenv("SLUICE_ROOT", str(tmp_path))
    monkeypatch.setenv("SLUICE_FLINK_PORT", "8091")
    rows = [JobStatus("counts", "RUNNING"), JobStatus("clicks", "broken", reasons=("clicks.py:1: no",))]
    monkeypatch.setattr(main_job, "run_main_job", lambda _stack: rows)
    done = CliRunner().invoke(__main__.app, ["run-main-job"])
    assert isinstance(done.exception, ConfigError)
    assert str(done.exception).startswith("clicks.py:1: no; fix it")
    assert f"next    export SLUICE_ROOT={tmp_path} SLUICE_FLINK_PORT=8091; .venv/bin/sluice status" in done.output


def test_all_pages_of_dags_are_read():
    ids = ["redeploy_and_verify", *(f"deploy.job_{number}" for number in range(249))]

    def answer(request):
        offset, limit = (int(request.url.params[name]) for name in ("offset", "limit"))
        page = ids[offset : offset + min(limit, 100)]
        return httpx.Response(200, json={"dags": [{"dag_id": each} for each in page]})

    client = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    api = Airflow(client, Path("/logs"))
    assert main_job._parsed(api, ["job_0", "job_248"])
    assert not main_job._parsed(api, ["job_249"])


OWN = {
    "connection_id": "flink_default", "conn_type": "flink", "description": main_job._OURS, "host": "127.0.0.1",
    "port": 8091, "schema": "http", "login": None, "password": None, "extra": None,
}  # fmt: skip


def shown(*kept):
    """The requests that are sent if Airflow has these connections."""
    sent = []

    def answer(request):
        if request.method == "GET":
            assert request.url.path == "/connections"
            return httpx.Response(200, json={"connections": kept, "total_entries": len(kept)})
        sent.extend(json.loads(request.content)["actions"])
        return httpx.Response(200, json={})

    client = httpx.Client(base_url="http://airflow", transport=httpx.MockTransport(answer))
    main_job.show_cluster(Airflow(client, Path("/logs")), SimpleNamespace(flink_port=8092))
    return sent


@pytest.mark.parametrize("kept", [(), ({**OWN, "connection_id": "flink_default_of_mine", "host": "mine"},)])
def test_a_connection_to_the_cluster_is_created_in_airflow(kept):
    [action] = shown(*kept)
    [entity] = action["entities"]
    # One that a user creates at this moment stays.
    assert action["action_on_existence"] == "skip"
    assert entity == {name: value for name, value in OWN.items() if value is not None} | {"port": 8092}


@pytest.mark.parametrize("kept", [OWN, {**OWN, "port": 8092, "description": None}])
def test_the_stacks_own_connection_follows_its_port(kept):
    [action] = shown(kept)
    assert (action["action_on_existence"], action["entities"][0]["port"]) == ("overwrite", 8092)


@pytest.mark.parametrize(
    "other",
    [
        {"host": "flink.example.org", "schema": "https", "port": None},
        {"login": "deployer", "password": "***"},
        {"extra": '{"ca_bundle": "/ca.pem"}'},
        {"schema": "https"},
        {"description": "a tunnel to the team's", "port": 9000},
        {"conn_type": "http"},
    ],
)
def test_a_users_own_connection_stays_unchanged_and_is_reported(other, capsys):
    assert shown({**OWN, **other}) == []
    words = " ".join(capsys.readouterr().err.split())
    assert "Airflow's connection flink_default" in words
    assert "is not this stack's: it stays unchanged" in words
