"""The DAG files: their DAGs, the same at each parse, and the modules that they don't import."""

import json
import shutil
from pathlib import Path

import pytest
from airflow.serialization.serialized_objects import DagSerialization
from airflow.ti_deps.dependencies_states import ACTIVE_STATES
from airflow.utils.state import TaskInstanceState

from sluice.airflow.dags import sweep_dag
from tests.support.own_process import run_module
from tests.support.parsed_dags import dags_of_project

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    """Parsed by an interpreter that has imported nothing before, with other hashes than those of the tests."""
    home = tmp_path_factory.mktemp("airflow")
    done = run_module("tests.support.parsed_dags", home, "project", str(ROOT), PYTHONHASHSEED="1")
    return json.loads(done.stdout.splitlines()[-1])


def test_each_job_has_its_dags(parsed):
    jobs = {file.stem for file in (ROOT / "flink_jobs").glob("[!_]*.py")}
    replayed = jobs - {"dead_letters"}
    of_jobs = {*(f"deploy.{job}" for job in jobs), *(f"backfill.{job}" for job in replayed)}
    assert set(parsed["dags"]) == {*of_jobs, "redeploy_and_verify"}


def test_backfill_dag_has_daily_data_intervals_and_no_schedule(parsed):
    dag = parsed["dags"]["backfill.event_metrics"]["dag"]
    assert dag["timetable"]["__type"] == "sluice.airflow.timetable.IntervalsOnRequest"
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)
    assert {"start", "end", "chunk", "parallel", "output", "promote", "config_window"} <= {
        name for name, _ in dag["params"]
    }


def test_parsing_imports_neither_pyflink_nor_kafka(parsed):
    assert parsed["heavy"] == []


def test_parsing_twice_gives_identical_dags(parsed):
    assert dags_of_project(ROOT) == parsed["dags"]


def test_broken_job_file_gives_a_dag_that_shows_its_error(tmp_path):
    shutil.copytree(ROOT / "dags", tmp_path / "dags")
    (tmp_path / "flink_jobs").mkdir()
    (tmp_path / "flink_jobs" / "spoilt.py").write_text("1 +\n")
    dag = dags_of_project(tmp_path)["deploy.spoilt"]["dag"]
    assert "flink_jobs/spoilt.py:1: SyntaxError" in dag["description"]


def test_job_file_with_an_invalid_name_does_not_remove_other_dags(tmp_path):
    shutil.copytree(ROOT / "dags", tmp_path / "dags")
    shutil.copytree(ROOT / "flink_jobs", tmp_path / "flink_jobs")
    source = (ROOT / "flink_jobs" / "event_metrics.py").read_text()
    for name in ("event_metrics copy", "event_metrics+copy"):
        (tmp_path / "flink_jobs" / f"{name}.py").write_text(source)
    dags = dags_of_project(tmp_path)
    assert {f"deploy.{file.stem}" for file in (ROOT / "flink_jobs").glob("[!_]*.py")} < set(dags)
    copies = {name: dag["dag"]["description"] for name, dag in dags.items() if "-copy-" in name}
    assert len(copies) == 2
    assert all("rename the file to a Python identifier" in words for words in copies.values())


def test_sweep_operations_limits_parallel_deploy_runs(tmp_path, monkeypatch):
    """A task that waits for its deploy is deferred: Airflow must count it as active."""
    monkeypatch.setenv("SLUICE_SWEEP_OPERATIONS", "2")
    written = DagSerialization.to_dict(sweep_dag(tmp_path))
    [operate] = [task["__var"] for task in written["dag"]["tasks"] if task["__var"]["task_id"] == "operate"]
    partial = operate["partial_kwargs"]
    assert (partial["max_active_tis_per_dagrun"], partial["deferrable"]) == (2, True)
    assert TaskInstanceState.DEFERRED in ACTIVE_STATES
    # The scheduler uses the deserialized DAG.
    assert DagSerialization.from_dict(written).get_task("operate").max_active_tis_per_dagrun == 2


@pytest.mark.parametrize(("given", "expected"), [(None, "*/10 * * * *"), ("0 * * * *", "0 * * * *"), ("none", None)])
def test_sweep_schedule_comes_from_the_setting_and_starts_paused(tmp_path, monkeypatch, given, expected):
    monkeypatch.delenv("SLUICE_SWEEP_SCHEDULE", raising=False)
    if given:
        monkeypatch.setenv("SLUICE_SWEEP_SCHEDULE", given)
    dag = sweep_dag(tmp_path)
    assert (dag.schedule, dag.catchup, dag.max_active_runs) == (expected, False, 1)
    assert dag.is_paused_upon_creation
