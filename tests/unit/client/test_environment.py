"""The environment variables that the client process gets from its parent."""

import json
from pathlib import Path

import pytest

from sluice.client.environment import client_environment
from sluice.local.survivors import marks
from tests.unit.client.test_process import ORDER, READY, client, says


@pytest.mark.parametrize(
    "name",
    [
        *("AIRFLOW__CORE__FERNET_KEY", "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN", "AIRFLOW_CONN_FLINK_DEFAULT"),
        *("SLUICE_LEDGER", "KAFKA_PASSWORD", "ENRICH_API_KEY", "FERNET_KEY", "PGPASSWORD"),
    ],
)
def test_client_gets_no_unneeded_variable(name):
    assert client_environment({name: "planted", "PATH": "/bin"}) == {"PATH": "/bin"}


def test_client_does_not_get_the_address_of_another_pyflink_gateway():
    assert client_environment({"PYFLINK_GATEWAY_PORT": "1", "PYFLINK_PYTHON": "python"}) == {"PYFLINK_PYTHON": "python"}


@pytest.mark.parametrize(
    "name",
    [
        *("PATH", "HOME", "JAVA_HOME", "LANG", "LC_ALL", "TMPDIR", "JVM_ARGS", "FLINK_CONF_DIR", "FLINK_PLUGINS_DIR"),
        *("FLINK_REST_CLIENT_HEADERS", "https_proxy", "NO_PROXY", "AWS_ACCESS_KEY_ID", "SLUICE_CLIENT_CACHE"),
    ],
)
def test_client_gets_the_variables_that_it_needs(name):
    assert client_environment({name: "value"}) == {name: "value"}


def test_client_gets_the_variables_that_mark_the_local_stack():
    given = {**marks(Path("/stack")), "SLUICE_HOME": "/stack"}
    kept = client_environment(given)
    assert kept.items() >= {"SLUICE_STACK": "/stack", "SLUICE_HOME": "/stack"}.items()


def test_client_gets_variables_listed_in_sluice_client_variables():
    given = {"SLUICE_CLIENT_VARIABLES": "TEAM_*, REGION", "TEAM_A": "1", "REGION": "2", "REGION_B": "3"}
    assert client_environment(given) == {"TEAM_A": "1", "REGION": "2"}


def test_client_process_has_no_other_variables(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__CORE__FERNET_KEY", "planted")
    script = f"import json, os; json.dump(dict(os.environ), open({str(tmp_path / 'seen')!r}, 'w'))\n" + says(READY)
    with client(tmp_path, script, variables={"SLUICE_CLIENT_CACHE": "/cache"}) as process:
        process.prepare(ORDER, timeout=10)
    seen = json.loads((tmp_path / "seen").read_text())
    assert "planted" not in seen.values()
    assert seen["SLUICE_CLIENT_CACHE"] == "/cache"
    assert seen["JVM_ARGS"]
