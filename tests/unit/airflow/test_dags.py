"""The DAG files: their DAGs, the same at each parse, and the modules that they don't import.

In a process of its own: Airflow configures itself, and warns, when it is imported.
"""

import json
import shutil
from pathlib import Path

import pytest

from tests.support.own_process import run_fresh_script, run_script

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


def parse(root: Path, home: Path) -> dict:
    done = run_script(SCRIPT, home, str(root / "dags"))
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def parsed(tmp_path_factory):
    """Parsed in an interpreter that has imported nothing before, with other hashes than in `parse`."""
    done = run_fresh_script(SCRIPT, tmp_path_factory.mktemp("airflow"), str(ROOT / "dags"), PYTHONHASHSEED="1")
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


def test_parsing_twice_gives_identical_dags(parsed, tmp_path):
    assert parse(ROOT, tmp_path)["dags"] == parsed["dags"]


def test_broken_job_file_gives_a_dag_that_shows_its_error(tmp_path):
    shutil.copytree(ROOT / "dags", tmp_path / "dags")
    (tmp_path / "flink_jobs").mkdir()
    (tmp_path / "flink_jobs" / "spoilt.py").write_text("1 +\n")
    dag = parse(tmp_path, tmp_path)["dags"]["deploy.spoilt"]["dag"]
    assert "flink_jobs/spoilt.py:1: SyntaxError" in dag["description"]


def test_job_file_with_an_invalid_name_does_not_remove_other_dags(tmp_path):
    shutil.copytree(ROOT / "dags", tmp_path / "dags")
    shutil.copytree(ROOT / "flink_jobs", tmp_path / "flink_jobs")
    source = (ROOT / "flink_jobs" / "event_metrics.py").read_text()
    for name in ("event_metrics copy", "event_metrics+copy"):
        (tmp_path / "flink_jobs" / f"{name}.py").write_text(source)
    dags = parse(tmp_path, tmp_path)["dags"]
    assert {f"deploy.{file.stem}" for file in (ROOT / "flink_jobs").glob("[!_]*.py")} < set(dags)
    copies = {name: dag["dag"]["description"] for name, dag in dags.items() if "-copy-" in name}
    assert len(copies) == 2
    assert all("rename the file to a Python identifier" in words for words in copies.values())


def test_sweep_operations_limits_parallel_deploy_runs(tmp_path):
    """A task that waits for its deploy is deferred: Airflow must count it as active."""
    run_script(
        """
import sys
from pathlib import Path
from airflow.serialization.serialized_objects import DagSerialization
from airflow.ti_deps.dependencies_states import ACTIVE_STATES
from airflow.utils.state import TaskInstanceState
from sluice.airflow.dags import sweep_dag

written = DagSerialization.to_dict(sweep_dag(Path(sys.argv[1])))
[operate] = [task["__var"] for task in written["dag"]["tasks"] if task["__var"]["task_id"] == "operate"]
partial = operate["partial_kwargs"]
assert (partial["max_active_tis_per_dagrun"], partial["deferrable"]) == (2, True), partial
assert TaskInstanceState.DEFERRED in ACTIVE_STATES
# The scheduler uses the deserialized DAG.
dag = DagSerialization.from_dict(written)
assert dag.get_task("operate").max_active_tis_per_dagrun == 2
""",
        tmp_path,
        str(tmp_path),
        SLUICE_SWEEP_OPERATIONS="2",
    )


def test_sweep_schedule_comes_from_the_setting_and_starts_paused(tmp_path):
    run_script(
        """
import os, sys
from pathlib import Path
from sluice.airflow.dags import sweep_dag

for given, expected in ((None, "*/10 * * * *"), ("0 * * * *", "0 * * * *"), ("none", None)):
    if given:
        os.environ["SLUICE_SWEEP_SCHEDULE"] = given
    dag = sweep_dag(Path(sys.argv[1]))
    assert (dag.schedule, dag.catchup, dag.max_active_runs) == (expected, False, 1), (given, dag.schedule)
    assert dag.is_paused_upon_creation
""",
        tmp_path,
        str(tmp_path),
    )
