"""The DAG file: what it gives, that it gives the same each time, and what it doesn't import.

In a process of its own: Airflow configures itself, and warns, when it is imported.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.own_process import run_fresh_script

ROOT = Path(__file__).resolve().parents[3]
SCRIPT = """
import json, sys
sys.path.insert(0, sys.argv[1])
import backfill, deploy, redeploy_and_verify
from airflow.sdk import DAG
from airflow.serialization.serialized_objects import DagSerialization
dags = {name: dag for file in (deploy, backfill) for name, dag in vars(file).items()
        if isinstance(dag, DAG) and "." in name}
dags["redeploy_and_verify"] = redeploy_and_verify.redeploy_and_verify
found = {name: DagSerialization.to_dict(dag) for name, dag in dags.items()}
heavy = sorted({"pyflink", "py4j", "confluent_kafka"} & set(sys.modules))
print(json.dumps({"dags": found, "heavy": heavy}, default=str))
"""


def parse(root: Path, home: Path, seed: str = "0") -> dict:
    done = run_fresh_script(SCRIPT, home, str(root / "dags"), PYTHONHASHSEED=seed)
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("airflow")


@pytest.fixture(scope="module")
def parsed(home):
    return parse(ROOT, home)


def test_each_job_has_its_dag(parsed):
    jobs = {file.stem for file in (ROOT / "flink_jobs").glob("[!_]*.py")}
    replayed = jobs - {"dead_letters"}
    of_jobs = {*(f"deploy.{job}" for job in jobs), *(f"backfill.{job}" for job in replayed)}
    assert set(parsed["dags"]) == {*of_jobs, "redeploy_and_verify"}


def test_a_backfill_has_a_data_interval_for_each_day_and_runs_only_when_asked(parsed):
    dag = parsed["dags"]["backfill.event_metrics"]["dag"]
    assert dag["timetable"]["__type"] == "sluice.airflow.timetable.IntervalsOnRequest"
    assert (dag["catchup"], dag["max_active_runs"]) == (False, 1)
    assert {"start", "end", "chunk", "parallel", "output", "promote", "config_window"} <= {
        name for name, _ in dag["params"]
    }


def test_parsing_imports_neither_pyflink_nor_kafka(parsed):
    assert parsed["heavy"] == []


def test_the_dags_are_the_same_each_time(parsed, home):
    assert parse(ROOT, home, seed="1")["dags"] == parsed["dags"]


def test_a_broken_file_gives_a_dag_that_says_so(tmp_path, home):
    shutil.copytree(ROOT / "dags", tmp_path / "dags")
    (tmp_path / "flink_jobs").mkdir()
    (tmp_path / "flink_jobs" / "spoilt.py").write_text("1 +\n")
    dag = parse(tmp_path, home)["dags"]["deploy.spoilt"]["dag"]
    assert "flink_jobs/spoilt.py:1: SyntaxError" in dag["description"]


def test_a_file_with_an_impossible_name_takes_no_dag_away(tmp_path, home):
    shutil.copytree(ROOT / "dags", tmp_path / "dags")
    shutil.copytree(ROOT / "flink_jobs", tmp_path / "flink_jobs")
    source = (ROOT / "flink_jobs" / "event_metrics.py").read_text()
    for name in ("event_metrics copy", "event_metrics+copy"):
        (tmp_path / "flink_jobs" / f"{name}.py").write_text(source)
    dags = parse(tmp_path, home)["dags"]
    assert {f"deploy.{file.stem}" for file in (ROOT / "flink_jobs").glob("[!_]*.py")} < set(dags)
    copies = {name: dag["dag"]["description"] for name, dag in dags.items() if "-copy-" in name}
    assert len(copies) == 2
    assert all("rename the file to a Python identifier" in words for words in copies.values())
