"""The names that users' DAGs may import, and the example DAGs of the docs."""

import json
from datetime import timedelta
from pathlib import Path

import pytest
from airflow.sdk import DAG

import sluice.airflow
from sluice.airflow import GateOperator, SavepointOperator
from tests.support.own_process import run_module
from tests.support.pages import examples

ROOT = Path(__file__).resolve().parents[3]


def test_public_names_are_fixed():
    assert sluice.airflow.__all__ == [
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
    assert sluice.airflow.__all__ == sorted(sluice.airflow._MODULES)
    assert set(sluice.airflow.__all__) <= set(dir(sluice.airflow))


@pytest.mark.parametrize("name", sluice.airflow.__all__)
def test_public_name_can_be_imported(name):
    assert getattr(sluice.airflow, name).__name__ == name


def test_unknown_name_raises_attribute_error():
    with pytest.raises(AttributeError, match=r"module 'sluice\.airflow' has no attribute 'nothing'"):
        _ = sluice.airflow.nothing


def test_public_names_are_loaded_on_first_access(tmp_path):
    loaded = run_module("tests.support.loaded_modules", tmp_path, "sluice.airflow").stdout.split()
    assert [name for name in loaded if name.startswith("sluice.airflow")] == ["sluice.airflow"]


def test_operators_have_two_retries_unless_they_are_given_others():
    with DAG("default_retries", schedule=None):
        silent = SavepointOperator(task_id="silent", job="j")
        given = SavepointOperator(task_id="given", job="j", retries=5, retry_delay=timedelta(seconds=7))
        gate = GateOperator(task_id="gate", job="j", gate="running")
        patient = GateOperator(task_id="patient", job="j", gate="running", retries=1)
    retries = [(each.retries, each.retry_delay.total_seconds()) for each in (silent, given, gate)]
    assert retries == [(2, 10.0), (5, 7.0), (2, 10.0)]
    assert (gate.fails_at_once, patient.fails_at_once) == (True, False)


def test_operators_have_the_retries_of_their_dag():
    with DAG("own_retries", schedule=None, default_args={"retries": 0}):
        assert SavepointOperator(task_id="own", job="j").retries == 0


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    """The example DAGs, parsed by an interpreter that has imported nothing before."""
    home = tmp_path_factory.mktemp("home")
    directory = tmp_path_factory.mktemp("dags")
    for page in ("in-dags-of-your-own.md", "wait-for-a-job.md", "assets-and-lineage.md"):
        for name, text in examples(ROOT / "docs" / page).items():
            (directory / name).write_text(text)
    done = run_module("tests.support.parsed_dags", home, "folder", str(directory))
    return json.loads(done.stdout.splitlines()[-1])


def tasks(parsed, dag):
    return {task["__var"]["task_id"]: task["__var"] for task in parsed["dags"][dag]["dag"]["tasks"]}


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
