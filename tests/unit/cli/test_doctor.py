"""What the doctor finds, check by check; a function stands for Airflow."""

import json
import sys
from pathlib import Path
from types import SimpleNamespace

import httpx
import psutil
import pytest

from sluice.cli import doctor
from sluice.deployment.file import FlinkSection
from sluice.flink.access import Access
from sluice.flink.client import FlinkClient
from sluice.local.layout import Local
from sluice.project import Project
from sluice.release.versions import FLINK, KAFKA_CONNECTOR
from sluice.settings import Settings


def script(file: Path, text: str) -> Path:
    file.write_text(f"#!/bin/sh\n{text}\n")
    file.chmod(0o755)
    return file


@pytest.mark.parametrize(
    ("text", "state", "words"),
    [
        (f"echo {FLINK}", "ok", FLINK),
        ("echo 1.20.0", "failed", "1.20.0"),
        ("echo 'ModuleNotFoundError: sluice' >&2; exit 1", "failed", "ModuleNotFoundError: sluice"),
    ],
)
def test_pyflink_is_asked_of_the_client_s_interpreter(tmp_path, text, state, words):
    found = doctor._pyflink(script(tmp_path / "python", text))
    assert found.state == state
    assert words in found.found
    assert str(tmp_path) in found.found


def test_an_interpreter_that_is_none_is_named(tmp_path):
    found = doctor._pyflink(tmp_path / "nope")
    assert (found.state, found.found) == ("failed", f"{tmp_path}/nope: No such file or directory")


def test_this_interpreter_has_pyflink():
    assert doctor._pyflink(Path(sys.executable)).state == "ok"


def test_both_jars_of_the_client_are_looked_for(tmp_path):
    project = Project(Settings(root=tmp_path, home=tmp_path, flink_lib=tmp_path))

    def states():
        return {check.name: check.state for check in doctor._client_jars(project)}

    assert states() == {"Kafka connector": "failed", "JSON format": "failed"}
    (tmp_path / f"flink-sql-connector-kafka-{KAFKA_CONNECTOR}.jar").touch()
    assert states() == {"Kafka connector": "ok", "JSON format": "failed"}
    (tmp_path / "flink-strict-json-0.1.0.jar").touch()
    assert states() == {"Kafka connector": "ok", "JSON format": "ok"}


@pytest.mark.parametrize(
    ("jars", "states"),
    [((), []), (("a b.jar", "https://x/y.jar"), ["ok"]), (("a b.jar", "gone.jar"), ["failed"])],
)
def test_jars_that_are_shipped_are_looked_for(tmp_path, jars, states):
    (tmp_path / "a b.jar").touch()
    content = SimpleNamespace(flink=FlinkSection(url="http://flink", jars=jars))
    project = SimpleNamespace(content=content, settings=SimpleNamespace(root=tmp_path))
    found = doctor._shipped_jars(project)
    assert [check.state for check in found] == states
    assert all("gone.jar" in check.found and "a%20b" not in check.found for check in found if check.state == "failed")


@pytest.mark.parametrize(("runs", "free", "state"), [(False, 7, "ok"), (False, 5, "failed"), (True, 1, "ok")])
def test_a_running_stack_has_its_memory(monkeypatch, runs, free, state):
    monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=free * 2**30))
    assert doctor._memory(runs=runs).state == state


@pytest.mark.parametrize(
    ("runs", "status", "state"), [(False, 500, "ok"), (True, 200, "ok"), (True, 503, "failed"), (True, None, "failed")]
)
def test_airflow_must_answer_where_the_local_stack_runs(tmp_path, monkeypatch, runs, status, state):
    def get(url, **_):
        if status is None:
            raise httpx.ConnectError("refused")
        return httpx.Response(status, request=httpx.Request("GET", url))

    monkeypatch.setattr(httpx, "get", get)
    (tmp_path / "airflow").mkdir()
    found = doctor._airflow(Local(root=tmp_path, home=tmp_path), runs=runs)
    assert found.state == state
    assert found.remedy is None or "airflow-api-server.log" in found.remedy


def test_another_airflow_than_the_tested_one_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(doctor.metadata, "version", lambda _name: "2.0")
    found = doctor._airflow(Local(root=tmp_path, home=tmp_path), runs=False)
    assert (found.state, found.found) == ("failed", "2.0")
    assert found.remedy.startswith("install apache-airflow==3")


def test_a_login_that_others_can_read_is_a_warning(tmp_path):
    kafka = {"bootstrap.servers": "127.0.0.1:9092,kafka-1:9092", "security.protocol": "sasl_plaintext"}
    project = Project(Settings(root=tmp_path), kafka=kafka, flink=Access.of("http://ann:secret@flink:8081"))
    flink, brokers = doctor._logins(project)
    assert (flink.state, brokers.state) == ("warning", "warning")
    assert "the login of the Flink cluster is sent unencrypted to http://flink:8081" in flink.found
    assert "https" in flink.remedy
    assert "Kafka at kafka-1:9092 sends its login without encryption (SASL_PLAINTEXT)" in brokers.found
    assert "SASL_SSL" in brokers.remedy
    assert "secret" not in f"{flink}{brokers}"


@pytest.mark.parametrize(
    ("url", "kafka"),
    [
        ("http://flink:8081", {"bootstrap.servers": "kafka:9092"}),
        ("https://ann:secret@flink:8081", {"bootstrap.servers": "kafka:9092", "security.protocol": "SASL_SSL"}),
        (
            "http://ann:secret@127.0.0.1:8081",
            {"bootstrap.servers": "localhost:9092,[::1]:9093", "security.protocol": "SASL_PLAINTEXT"},
        ),
    ],
)
def test_a_login_that_nobody_else_can_read_is_none(tmp_path, url, kafka):
    assert doctor._logins(Project(Settings(root=tmp_path), kafka=kafka, flink=Access.of(url))) == []


@pytest.mark.parametrize(
    ("value", "states"),
    [(None, ["ok", "warning"]), ("10 min", ["ok", "warning"]), ("60000", ["ok"]), ("1 min", ["ok"])],
)
def test_long_wait_for_metrics_is_a_warning(tmp_path, value, states):
    answers = {
        "/overview": {"taskmanagers": 1, "slots-total": 4, "slots-available": 2, "flink-version": FLINK},
        "/jobmanager/config": [{"key": "web.timeout", "value": value}] if value else [],
    }
    flink = FlinkClient("http://flink", exchange=lambda _method, path, _body: (200, json.dumps(answers[path]).encode()))
    found = doctor._flink(SimpleNamespace(connect=lambda: flink, flink_url="http://flink"))
    assert [check.state for check in found] == states
    assert all("0:10:00 (web.timeout)" in check.found for check in found[1:])
