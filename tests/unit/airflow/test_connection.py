"""The connection type `flink` in Airflow."""

import json
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService

from sluice.airflow.hook import FlinkHook
from sluice.airflow.provider import get_provider_info
from sluice.flink.connection import EXTRAS
from tests.support.stacks import free_ports


@pytest.mark.parametrize("name", ["provider_info.schema.json", "provider.yaml.schema.json"])
def test_provider_info_matches_airflows_schemas(name):
    schema = json.loads((Path(find_spec("airflow").origin).parent / name).read_text())
    [kind] = get_provider_info()["connection-types"]
    jsonschema.validate(kind, schema["properties"]["connection-types"]["items"])
    assert set(kind["conn-fields"]) == set(EXTRAS)


def test_connection_form_has_the_flink_fields():
    [found] = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "flink"]
    form = json.loads(found.model_dump_json())
    assert form["hook_name"] == "Flink"
    assert form["extra_fields"]["token"]["schema"]["format"] == "password"
    assert form["extra_fields"]["verify"]["value"] is True
    assert form["standard_fields"]["url_schema"]["title"] == "Schema (http or https)"


@pytest.fixture
def port():
    """A port at which nothing listens."""
    [found] = free_ports(1)
    return found


@pytest.fixture
def team(monkeypatch, port):
    """A function that sets the connection `team`, with these fields over the usual ones."""

    def given(**fields):
        usual = {"conn_type": "flink", "host": "127.0.0.1", "port": port, "login": "me", "password": "planted"}
        monkeypatch.setenv("AIRFLOW_CONN_TEAM", json.dumps({**usual, **fields}))
        return FlinkHook("team")

    return given


def test_test_connection_reports_the_error_and_no_password(team, port, capfd, caplog):
    passed, words = team().test_connection()
    assert not passed
    assert words.startswith(f"Flink at http://127.0.0.1:{port} does not answer")
    printed = capfd.readouterr()
    assert "planted" not in words + printed.out + printed.err + caplog.text


def test_test_connection_refuses_an_unknown_schema(team):
    passed, words = team(schema="ftp").test_connection()
    assert (passed, words.partition(";")[0]) == (
        False,
        "Flink connection team: its schema is 'ftp', expected http or https",
    )
