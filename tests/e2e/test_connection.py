"""The connection type `flink` in a real Airflow: its form, its test button, and a deploy through one."""

import json
import secrets

import httpx
import pytest

from sluice.flink import calls
from sluice.flink.access import Access
from sluice.flink.client import FlinkClient
from sluice.local.main_job import Airflow, show_cluster
from tests.e2e.running import ended
from tests.integration import sources
from tests.support.file_contents import file_contents
from tests.support.proxy import proxy_before

pytestmark = pytest.mark.usefixtures("stack")

DEPLOYMENT = """
kafka: {connection: guarded_kafka}
flink: {connection: guarded_flink}
defaults:
  flink:
    execution.checkpointing.interval: 1 s
    execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
"""


@pytest.fixture
def planted():
    return {name: f"planted-{secrets.token_hex(12)}" for name in ("kafka", "flink")}


@pytest.fixture
def proxy(local, tmp_path, planted):
    header = Access("", "deployer", planted["flink"]).authorization
    with proxy_before(tmp_path / "proxy", local.flink_url, header) as proxy:
        yield proxy


def fields(**given):
    return {"connection_id": "tried", "conn_type": "flink", "host": "127.0.0.1", **given}


def press(airflow, **given):
    """What the test button says."""
    extra = given.pop("extra", None)
    body = fields(**given, **({"extra": json.dumps(extra)} if extra else {}))
    answer = airflow.post("/connections/test", json=body).raise_for_status().json()
    return answer["status"], answer["message"]


def test_connection_form_has_the_fields_of_a_flink_cluster(local):
    metas = httpx.get(f"{local.airflow_url}/ui/connections/hook_meta", timeout=30).raise_for_status().json()
    [meta] = [meta for meta in metas if meta["connection_type"] == "flink"]
    assert meta["hook_name"] == "Flink"
    assert meta["standard_fields"]["url_schema"]["title"] == "Schema (http or https)"
    assert list(meta["extra_fields"]) == [
        *("path", "token", "verify", "ca_bundle", "client_certificate", "client_key"),
    ]
    assert meta["extra_fields"]["token"]["schema"]["format"] == "password"
    assert meta["extra_fields"]["verify"]["schema"]["default"] is True


def test_connection_test_shows_version_and_free_slots(airflow, local):
    passed, words = press(airflow, port=local.flink_port)
    assert passed
    assert words.startswith("Flink 2.3.0: ")
    assert f"of {local.slots} slots free" in words


def test_failed_connection_test_shows_the_cause_and_the_next_step(airflow, local, proxy, planted):
    trusted = {"ca_bundle": str(proxy.ca)}
    login = {"port": proxy.port, "schema": "https", "login": "deployer"}
    assert press(airflow, **login, password=planted["flink"], extra=trusted)[0]
    for given, expected in (
        ({**login, "password": "wrong", "extra": trusted}, "denies access: 401 for GET /overview"),
        ({**login, "password": planted["flink"]}, "no TLS connection"),
        ({**login, "schema": "http", "password": planted["flink"]}, "does not answer"),
        ({"port": local.flink_port, "schema": "https"}, "no TLS connection"),
        ({"port": local.airflow_port}, "; check that the address is that of a Flink cluster"),
        ({"port": 1}, "does not answer (GET /overview: "),
        ({"port": proxy.port, "schema": "https", "extra": {"ca_bundle": "/nowhere.pem"}}, "ca_bundle /nowhere.pem"),
        ({"port": 1, "extra": {"token": "x", "verify": "maybe"}}, "its verify is 'maybe'"),
    ):
        passed, words = press(airflow, **given)
        assert not passed, given
        assert expected in words
        assert "; " in words  # the next step
        assert planted["flink"] not in words


def test_local_stacks_default_connection_exists_and_passes_its_test(airflow, local):
    show_cluster(Airflow(airflow, local.logs), local)
    show_cluster(Airflow(airflow, local.logs), local)
    kept = airflow.get("/connections/flink_default").raise_for_status().json()
    assert (kept["conn_type"], kept["port"]) == ("flink", local.flink_port)
    body = {name: kept[name] for name in ("connection_id", "conn_type", "host", "port", "schema")}
    assert airflow.post("/connections/test", json=body).raise_for_status().json()["status"]


def keep(airflow, **connection):
    extra = json.dumps(connection.pop("extra"))
    airflow.post("/connections", json={**connection, "extra": extra}).raise_for_status()


def test_deploy_through_connections_leaves_no_secret_anywhere(airflow, local, root, proxy, planted, database_content):
    keep(
        airflow,
        **fields(connection_id="guarded_flink", port=proxy.port, schema="https", login="deployer"),
        password=planted["flink"],
        extra={"ca_bundle": str(proxy.ca)},
    )
    # The broker of this stack asks for no password, and isn't told one; the clients have it all the same.
    kafka = {"bootstrap.servers": local.kafka_servers, "sasl.mechanism": "PLAIN", "sasl.username": "me"}
    keep(
        airflow,
        connection_id="guarded_kafka",
        conn_type="kafka",
        extra={**kafka, "sasl.password": planted["kafka"], "security.protocol": "PLAINTEXT"},
    )
    job = root / "flink_jobs" / "guarded.py"
    job.write_text(sources.source("guarded", sources.SQL))
    (root / "deployments" / "guarded.yaml").write_text(DEPLOYMENT)
    try:
        body = {"logical_date": None, "dag_run_id": "one"}
        airflow.post("/dags/guarded/dagRuns", json=body).raise_for_status()
        path = "/dags/guarded/dagRuns/one"
        ended(airflow, path)
        tasks = airflow.get(f"{path}/taskInstances").json()["task_instances"]
        states = {task["task_id"]: task["state"] for task in tasks}
        assert set(states.values()) == {"success"}, states
        assert ("POST", "/v1/jobs", True) in proxy.asked
        _look_everywhere(airflow, local, root, planted, list(states), database_content())
    finally:
        job.unlink()
        with FlinkClient(local.flink_url) as flink:
            for found in flink.send(calls.jobs()).jobs:
                if found.name == "guarded" and not found.state.is_terminal:
                    flink.send(calls.cancel(found.id))


def _look_everywhere(airflow, local, root, planted, tasks, database):
    assert not database or "guarded_flink" in database
    # Connections are encrypted in it.
    places = {"Airflow's database": database}
    for task in tasks:
        path = f"/dags/guarded/dagRuns/one/taskInstances/{task}"
        for entry in airflow.get(f"{path}/xcomEntries").raise_for_status().json()["xcom_entries"]:
            places[f"XCom {task} {entry['key']}"] = airflow.get(f"{path}/xcomEntries/{entry['key']}").text
        places[f"log of {task}"] = airflow.get(f"{path}/logs/1").text
    assert any("flink_job_url" in place for place in places)
    for name in ("guarded_flink", "guarded_kafka"):
        places[f"connection {name}"] = airflow.get(f"/connections/{name}").text
    for directory in (root, local.home, local.logs):
        places |= {str(file): content.decode(errors="replace") for file, content in file_contents(directory)}
    assert [place for place, text in places.items() if any(secret in text for secret in planted.values())] == []


def test_files_with_the_stacks_keys_are_readable_by_their_owner_only(local):
    keys = json.loads((local.home / "airflow" / "keys.json").read_text()).values()
    holding = [file for file, content in file_contents(local.home) if any(key.encode() in content for key in keys)]
    assert {file.name for file in holding} >= {"keys.json", "supervisord.conf"}
    assert [str(file) for file in holding if file.stat().st_mode & 0o077] == []
