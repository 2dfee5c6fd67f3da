"""The names that users' DAGs may import, and the example DAGs of the docs; in a process of its own, as the DAGs."""

import json
from pathlib import Path

import pytest

from tests.support.own_process import run_script
from tests.support.pages import examples

ROOT = Path(__file__).resolve().parents[3]
UNLOADED = ("sluice", "confluent_kafka", "pyflink", "py4j")
PARSE = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.serialization.serialized_objects import DagSerialization
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
heavy = sorted({"pyflink", "py4j", "confluent_kafka"} & set(sys.modules))
found = {name: DagSerialization.to_dict(dag)["dag"] for name, dag in bag.dags.items()}
print(json.dumps({"dags": found, "heavy": heavy}, default=str))
"""


def test_public_names_are_fixed_and_loaded_on_first_access(tmp_path):
    script = """
import sys
import sluice.airflow
assert not [name for name in sys.modules if name.startswith("sluice.airflow.")]
assert sluice.airflow.__all__ == sorted(sluice.airflow._MODULES)
assert set(sluice.airflow.__all__) <= set(dir(sluice.airflow))
for name in sluice.airflow.__all__:
    assert getattr(sluice.airflow, name).__name__ == name
try:
    sluice.airflow.nothing
except AttributeError as error:
    print(error)
print(" ".join(sluice.airflow.__all__))
"""
    assert run_script(script, tmp_path, unloaded=("sluice",)).stdout.splitlines()[-1].split() == [
        "BackfillOperator",
        "DeployOperator",
        "GateOperator",
        "ResumeOperator",
        "RollBackToOperator",
        "SavepointOperator",
        "SuspendOperator",
        "backfill_group",
        "deploy_group",
        "event_time_asset",
        "gate_group",
        "job_asset",
        "topic_asset",
    ]


RETRIES = """
from datetime import timedelta
from airflow.sdk import DAG
from sluice.airflow import GateOperator, SavepointOperator

with DAG("default_retries", schedule=None):
    silent = SavepointOperator(task_id="silent", job="j")
    given = SavepointOperator(task_id="given", job="j", retries=5, retry_delay=timedelta(seconds=7))
    gate = GateOperator(task_id="gate", job="j", gate="running")
    patient = GateOperator(task_id="patient", job="j", gate="running", retries=1)
with DAG("own_retries", schedule=None, default_args={"retries": 0}):
    own = SavepointOperator(task_id="own", job="j")
print([(each.retries, each.retry_delay.total_seconds()) for each in (silent, given, gate)])
print(own.retries, gate.fails_at_once, patient.fails_at_once)
"""


def test_operators_have_retries_unless_the_dag_sets_its_own(tmp_path):
    assert run_script(RETRIES, tmp_path).stdout.splitlines()[-2:] == [
        "[(2, 10.0), (5, 7.0), (2, 10.0)]",
        "0 True False",
    ]


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    directory = tmp_path_factory.mktemp("dags")
    for page in ("in-dags-of-your-own.md", "wait-for-a-job.md", "assets-and-lineage.md"):
        for name, text in examples(ROOT / "docs" / page).items():
            (directory / name).write_text(text)
    done = run_script(PARSE, directory, str(directory), unloaded=UNLOADED)
    return json.loads(done.stdout.splitlines()[-1])


def tasks(parsed, dag):
    return {task["__var"]["task_id"]: task["__var"] for task in parsed["dags"][dag]["tasks"]}


def test_each_example_dag_of_the_docs_parses(parsed):
    assert {"migrate", "campaign", "nightly", "hourly_report", "hourly_rows"} <= set(parsed["dags"])
    assert parsed["heavy"] == []


def test_task_downstream_of_a_group_runs_after_its_last_task(parsed):
    found = tasks(parsed, "campaign")
    of_group = {name for name in found if name.startswith("deploy_event_metrics.")}
    assert of_group == {
        f"deploy_event_metrics.{task}"
        for task in (
            *("plan", "approve", "create_topics", "package", "switch_over"),
            *("check_running", "check_consumer_lag", "check_watermark", "settle", "roll_back"),
        )
    }
    before = [name for name, task in found.items() if "announce" in task.get("downstream_task_ids", ())]
    assert before == ["deploy_event_metrics.settle"]
    assert "deploy_event_metrics.settle" in found["deploy_event_metrics.roll_back"]["downstream_task_ids"]
