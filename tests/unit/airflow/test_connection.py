"""The connection type `flink` in Airflow; in processes of their own, as the DAGs."""

import json
from importlib.util import find_spec
from pathlib import Path

import jsonschema
import pytest

from sluice.airflow.provider import get_provider_info
from sluice.flink.connection import EXTRAS
from tests.support.own_process import run_script
from tests.support.stacks import free_ports

SCRIPT = """
import json, sys
from sluice.airflow.hook import FlinkHook
print(json.dumps(FlinkHook("team").test_connection()))
"""
FORM = """
import json
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
[found] = [meta for meta in HookMetaService.hook_meta_data() if meta.connection_type == "flink"]
print(found.model_dump_json())
"""


def run(script, tmp_path, **variables):
    done = run_script(script, tmp_path, **variables)
    return json.loads(done.stdout.splitlines()[-1]), done.stdout + done.stderr


@pytest.mark.parametrize("name", ["provider_info.schema.json", "provider.yaml.schema.json"])
def test_provider_info_matches_airflows_schemas(name):
    # Without importing Airflow, which takes a second.
    schema = json.loads((Path(find_spec("airflow").origin).parent / name).read_text())
    [kind] = get_provider_info()["connection-types"]
    jsonschema.validate(kind, schema["properties"]["connection-types"]["items"])
    assert set(kind["conn-fields"]) == set(EXTRAS)


def test_connection_form_has_the_flink_fields(tmp_path):
    found, _ = run(FORM, tmp_path)
    assert found["hook_name"] == "Flink"
    assert found["extra_fields"]["token"]["schema"]["format"] == "password"
    assert found["extra_fields"]["verify"]["value"] is True
    assert found["standard_fields"]["url_schema"]["title"] == "Schema (http or https)"


def test_test_connection_reports_the_error_and_no_password(tmp_path):
    [port] = free_ports(1)
    given = {"conn_type": "flink", "host": "127.0.0.1", "port": port, "login": "me", "password": "planted"}
    (passed, words), output = run(SCRIPT, tmp_path, AIRFLOW_CONN_TEAM=json.dumps(given))
    assert not passed
    assert words.startswith(f"Flink at http://127.0.0.1:{port} does not answer")
    assert "planted" not in output
    (passed, words), _ = run(SCRIPT, tmp_path, AIRFLOW_CONN_TEAM=json.dumps({**given, "schema": "ftp"}))
    assert (passed, words.partition(";")[0]) == (
        False,
        "Flink connection team: its schema is 'ftp', expected http or https",
    )
