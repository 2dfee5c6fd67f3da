"""Runs that the sweep starts: how long it waits for one, and what ends the wait; in a process of its own."""

from pathlib import Path

from tests.support.own_process import run_script

PREPARED = """
import asyncio, sys, time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
import airflow.sdk.execution_time.task_runner as task_runner
from airflow.sdk import DAG
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.sdk.execution_time.comms import DagRunStateResult, DRCount, OKResponse, TriggerDagRun
import sluice.airflow.deploy_run as deploy_run
from sluice.airflow.deploy_run import DeployRunOperator, DeployRunTrigger

ExecutorSafeguard.test_mode = True
ROOT = Path(sys.argv[1])
(ROOT / "flink_jobs").mkdir(exist_ok=True)
FILE = ROOT / "flink_jobs" / "counts.py"
FILE.touch()
sent, runs = [], {}


class Supervisor:
    # Answers as Airflow's supervisor does.
    def send(self, msg):
        sent.append(msg)
        match type(msg).__name__:
            case "TriggerDagRun":
                runs[msg.run_id] = "queued"
                return OKResponse(ok=True)
            case "GetDRCount":
                return DRCount(count=sum(1 for run in msg.run_ids if run in runs))
            case "GetDagRunState":
                return DagRunStateResult(state=runs[msg.run_id])
            case "GetDag":
                return SimpleNamespace(is_paused=False)
        return OKResponse(ok=True)


task_runner.SUPERVISOR_COMMS = Supervisor()
pushed = {}


class Task:
    id, map_index = "1", 0
    def xcom_push(self, key, value):
        pushed[key] = value
    get_dag = staticmethod(task_runner.RuntimeTaskInstance.get_dag)


def operator(within, *, waits=True, conf=None):
    with DAG("redeploy_and_verify", schedule=None):
        return DeployRunOperator(
            task_id="operate", root=str(ROOT), within=within, trigger_dag_id="deploy.counts", trigger_run_id="r1",
            conf=conf or {}, wait_for_completion=waits, fail_when_dag_is_paused=True, poke_interval=1, deferrable=True,
        )


def context(began=None):
    return {"ti": Task(), "dag_run": SimpleNamespace(start_date=began or datetime.now(UTC))}


def fired(trigger):
    async def first():
        async for event in trigger.run():
            return event.payload
    return asyncio.run(first())


def trigger(seconds, pause=0.05):
    return DeployRunTrigger(
        dag_id="deploy.counts", run_id="r1", file=str(FILE), deadline=time.time() + seconds, pause=pause
    )


def failure(task, status):
    try:
        task.ended(context(), {"status": status}, run="r1")
    except (AirflowFailException, AirflowSkipException) as error:
        return type(error).__name__, str(error)
"""


def run(tmp_path: Path, script: str) -> None:
    run_script(PREPARED + script, tmp_path, str(tmp_path))


def test_sweep_waits_for_a_run_until_one_interval_after_its_own_start(tmp_path):
    run(
        tmp_path,
        """
began = datetime.now(UTC) - timedelta(minutes=4)
task = operator(timedelta(minutes=10), conf={"reason": "{{ x"})
try:
    task.execute(context(began))
    raise SystemExit("it does not wait")
except TaskDeferred as error:
    deferred = error
[made] = [each for each in sent if isinstance(each, TriggerDagRun)]
assert (made.dag_id, made.run_id, made.conf) == ("deploy.counts", "r1", {"reason": "{{ x"}), made
assert pushed["trigger_run_id"] == "r1"
assert deferred.trigger.deadline == (began + timedelta(minutes=10)).timestamp()
assert timedelta(minutes=6) < deferred.timeout < timedelta(minutes=9), deferred.timeout
# Its serialized form makes an equal trigger.
_, arguments = deferred.trigger.serialize()
assert DeployRunTrigger(**arguments).serialize() == deferred.trigger.serialize()
""",
    )


def test_a_run_started_after_the_deadline_is_not_awaited(tmp_path):
    run(
        tmp_path,
        """
try:
    operator(timedelta(minutes=10)).execute(context(datetime.now(UTC) - timedelta(minutes=11)))
    raise SystemExit("it waits")
except AirflowSkipException as error:
    assert str(error).startswith("run r1 of deploy.counts still runs at this sweep's deadline"), error
assert runs == {"r1": "queued"}
""",
    )


def test_waiting_for_an_unfinished_run_stops_at_the_deadline(tmp_path):
    run(
        tmp_path,
        """
runs["r1"] = "running"
assert fired(trigger(0.2)) == {"status": "late"}
kind, words = failure(operator(timedelta(1)), "late")
assert kind == "AirflowSkipException", words
""",
    )


def test_a_run_whose_job_file_was_removed_fails_before_the_deadline(tmp_path):
    run(
        tmp_path,
        """
deploy_run._REMOVED_AFTER = 0.2
runs["r1"] = "running"
FILE.unlink()
began = time.monotonic()
assert fired(trigger(60)) == {"status": "removed"}
assert time.monotonic() - began < 30
kind, words = failure(operator(timedelta(1)), "removed")
assert (kind, words) == ("AirflowFailException",
    "the file of counts was removed while run r1 of deploy.counts ran: Airflow no longer schedules its tasks; put "
    "flink_jobs/counts.py back, or mark the run as failed")
# A run that ends nevertheless counts as ended.
runs["r1"] = "success"
assert fired(trigger(60)) == {"status": "success"}
""",
    )


def test_task_ends_with_the_status_of_the_run(tmp_path):
    run(
        tmp_path,
        """
for state in ("success", "failed"):
    runs["r1"] = state
    assert fired(trigger(60)) == {"status": state}
del runs["r1"]
assert fired(trigger(60)) == {"status": "deleted"}
assert failure(operator(timedelta(1)), "success") is None
assert failure(operator(timedelta(1)), "failed")[1] == "run r1 of deploy.counts has failed: see its tasks"
assert failure(operator(timedelta(1)), "deleted")[1] == "run r1 of deploy.counts was deleted while it ran"
""",
    )


def test_sweep_timeouts_derive_from_the_interval_of_its_schedule(tmp_path):
    run(
        tmp_path,
        """
import os
from sluice.airflow.dags import sweep_dag

for given, within, timeout in (
    ("*/10 * * * *", timedelta(minutes=10), timedelta(minutes=20)),
    ("* * * * *", timedelta(minutes=1), timedelta(minutes=15)),
    ("*/10,*/15 8-18 * * *", timedelta(minutes=5), timedelta(minutes=15)),
    ("@daily", timedelta(hours=2), timedelta(hours=4)),
    ("0 0 31 2 *", timedelta(hours=2), timedelta(hours=4)),
    ("none", timedelta(hours=2), timedelta(hours=4)),
):
    os.environ["SLUICE_SWEEP_SCHEDULE"] = given
    dag = sweep_dag(ROOT)
    assert dag.get_task("operate").partial_kwargs["within"] == within, given
    # The sweep's run must not end before `verify` has recorded the unfinished runs.
    assert dag.dagrun_timeout == timeout > within, given
    assert dag.get_task("sweep").budget < within
""",
    )
