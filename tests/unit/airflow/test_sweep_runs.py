"""Runs that outlast their sweep: the next sweeps start no second one, and count and report them."""

from pathlib import Path

from tests.support.ledgers import new_ledger
from tests.support.own_process import run_script
from tests.unit.airflow.test_sweep import PREPARED

LOOKED = """
from datetime import UTC, datetime, timedelta
import sluice.operation.failed_attempts as unbegun
from sluice.fleet.readings import to_sample

Failing.broken = False
counted = []
unbegun.record_unless_begun = lambda project, *given: counted.append(given)
gone = {"verdict": "failed", "reasons": ("it is gone",), "phase": "running"}
now["rows"] = [JobStatus(name, "gone", **gone) for name in ("a", "b")]
now["needs"] = [Needed(name, Decision("recover", "it is gone"), DeployRequest()) for name in ("a", "b")]
at = datetime.now(UTC)
sample = to_sample("test", JobObservation(now["rows"][0]), at, "1")
project.ledger.samples.add([sample], older_than=at - timedelta(days=1))
"""


def run(tmp_path: Path, script: str) -> None:
    new_ledger(tmp_path)
    run_script(PREPARED + LOOKED + script, tmp_path, str(tmp_path))


def test_no_second_run_is_started_while_one_runs_for_the_same_job(tmp_path):
    run(
        tmp_path,
        """
states.update(operate_0="skipped", operate_1="success")
made.update({0: "r0", 1: "r1"})
alive["r0"] = "running"
result, failure = run("1")
assert [each["trigger_dag_id"] for each in result] == ["deploy.a", "deploy.b"], result
assert (failure, counted) == (None, []), (failure, counted)
# The run hangs; b is down again.
made.update({0: "r2"})
states.update(operate_0="success")
result, failure = run("2")
assert ([each["trigger_dag_id"] for each in result], failure) == (["deploy.b"], None), (result, failure)
# Each further sweep reports it: the job is down.
result, failure = run("3")
assert [each["trigger_dag_id"] for each in result] == ["deploy.b"], result
for words in ("a: report: it is gone; run r0 of deploy.a runs since", "check its tasks in Airflow"):
    assert words in failure, failure
# At last another run is started, whatever the state of this one.
for number in range(4, 13):
    result, _ = run(str(number))
assert [each["trigger_dag_id"] for each in result] == ["deploy.b"], result
assert [each["trigger_dag_id"] for each in run("13")[0]] == ["deploy.a", "deploy.b"]
""",
    )


def test_a_run_that_fails_after_its_sweep_is_counted_by_the_next_one(tmp_path):
    run(
        tmp_path,
        """
to_1 = DeployRequest(kind="rollback", target_release=1, expected_release=2)
now["needs"] = [Needed("b", Decision("recover", "it is gone", release=1), to_1)]
states.update(operate_0="skipped")
made.update({0: "r0"})
alive["r0"] = "queued"
run("1")
assert counted == []
alive["r0"] = "failed"
states.update(operate_0="success")
made.update({0: "r1"})
result, _ = run("2")
assert counted == [
    ("b", DeployRequest(kind="rollback", target_release=1), "airflow:deploy.b/r0",
     "run r0 of deploy.b failed before it began an operation", at)
], counted
assert [each["trigger_dag_id"] for each in result] == ["deploy.b"]
run("3")
assert len(counted) == 1, counted
""",
    )


def test_a_running_run_is_not_counted_though_the_waiting_task_failed(tmp_path):
    run(
        tmp_path,
        """
states.update(operate_0="failed", operate_1="success")
made.update({0: "r0", 1: "r1"})
alive["r0"] = "running"
_, failure = run("1")
assert counted == []
assert failure.startswith("a run of deploy.a failed, or could not be triggered"), failure
""",
    )


def test_a_run_whose_job_file_was_removed_is_reported(tmp_path):
    run(
        tmp_path,
        """
from pathlib import Path

files = Path(sys.argv[1]) / "flink_jobs"
files.mkdir()
(files / "b.py").touch()
VerifyOperator._has_file = lambda self, job: (files / f"{job}.py").exists()
states.update(operate_0="failed", operate_1="skipped")
made.update({0: "r0", 1: "r1"})
alive.update(r0="running", r1="running")
_, failure = run("1")
assert "the file of a was removed while run r0 of deploy.a ran" in failure, failure
assert "the file of b" not in failure, failure
""",
    )


def test_jobs_that_are_down_come_before_jobs_that_have_drifted(tmp_path):
    run(
        tmp_path,
        """
now["needs"] = [Needed("a", Decision("redeploy", "it differs"), DeployRequest()),
                Needed("b", Decision("recover", "it is gone"), DeployRequest())]
assert [each["trigger_dag_id"] for each in run("1")[0]] == ["deploy.b", "deploy.a"]
""",
    )
