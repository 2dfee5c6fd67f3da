"""Runs that hold a job's lock: which have ended, and which wait for them; in a process of its own, as the DAGs."""

from pathlib import Path

from tests.support.ledgers import new_ledger
from tests.support.own_process import run_script

PREPARED = """
import asyncio, sys
from types import SimpleNamespace
from airflow.sdk.bases.operator import ExecutorSafeguard
from airflow.sdk.exceptions import TaskDeferred
from sluice.clock import MACHINE
from sluice.airflow import holders, lock_trigger
from sluice.airflow.base import SluiceOperator
from sluice.ledger.ledger import Ledger, NewRelease

ExecutorSafeguard.test_mode = True
ledger = Ledger(f"sqlite:///{sys.argv[1]}/ledger.db", "test")
project = SimpleNamespace(ledger=ledger, clock=MACHINE)
runs = {}  # state by DAG and run


def count(dag, run_ids, states=None):
    return sum(1 for run in run_ids if (state := runs.get((dag, run))) and (states is None or state in states))


def context(run="r1", dag="deploy.counts", index=-1):
    ti = SimpleNamespace(get_dr_count=count, map_index=index)
    return {"dag": SimpleNamespace(dag_id=dag), "run_id": run, "ti": ti}


def begin(holder, kind="deploy"):
    return ledger.begin("counts", kind=kind, holder=holder,
                        release=NewRelease(fingerprint=holder, artifact="a", module="m", resolved={}))


def waits(run="r1"):
    try:
        SluiceOperator(task_id="t", job="counts").wait_for_lock(context(run), project)
    except TaskDeferred as deferred:
        return deferred
    return None
"""


def run(tmp_path: Path, script: str) -> None:
    new_ledger(tmp_path)
    run_script(PREPARED + script, tmp_path, str(tmp_path))


def test_holder_has_ended_when_airflow_has_no_running_run_for_it(tmp_path):
    run(
        tmp_path,
        """
runs.update({("deploy.counts", "a/b"): "running", ("mine", "1"): "queued", ("mine", "2"): "failed",
             ("mine", "with spaces"): "running"})
ended = {holder: holders.has_ended(context(), holder) for holder in (
    "airflow:deploy.counts/a/b", "airflow:mine/1", "airflow:mine/2", "airflow:deploy.counts/deleted",
    "airflow:other/unknown", "shell:me@here:1", "airflow:mine/1 deploy_counts", "airflow:mine/2 keep[3]",
    "airflow:mine/with spaces")}
assert ended == {"airflow:deploy.counts/a/b": False, "airflow:mine/1": False, "airflow:mine/2": True,
                 "airflow:deploy.counts/deleted": True,
                 # Perhaps another Airflow's, with the same ledger.
                 "airflow:other/unknown": False, "shell:me@here:1": False,
                 # Parts of runs, and a run with spaces in its name.
                 "airflow:mine/1 deploy_counts": False, "airflow:mine/2 keep[3]": True,
                 "airflow:mine/with spaces": False}, ended
""",
    )


def test_run_waits_only_for_running_dag_runs_that_hold_the_job(tmp_path):
    run(
        tmp_path,
        """
assert waits() is None
runs["deploy.counts", "r2"] = "running"
operation = begin("airflow:deploy.counts/r2")
deferred = waits()
assert (deferred.method_name, deferred.trigger.operation) == ("continue_after_wait", operation.id)
assert waits("r2") is None
runs["deploy.counts", "r2"] = "failed"
assert waits() is None
operation.finish("failed")
begin("shell:me@elsewhere:1")
assert waits() is None
""",
    )


def test_each_group_and_operator_of_a_run_is_a_separate_holder(tmp_path):
    run(
        tmp_path,
        """
from airflow.sdk import DAG, TaskGroup
from sluice.airflow.deploy import DeployOperator, SuspendOperator
from sluice.airflow.deploy_tasks import deploy_group, deploy_tasks
from sluice.airflow.savepoint import SavepointOperator

with DAG("mine", schedule=None) as dag:
    deploy_group("counts")
    SavepointOperator(task_id="keep", job="counts")
    with TaskGroup("all"):
        SuspendOperator(task_id="rest", job="counts")
        deploy_group("counts", group_id="again")
with DAG("deploy.counts", schedule=None) as own:
    deploy_tasks(common={"job": "counts"})
parts = {}
for task in dag.tasks:
    parts.setdefault(task.holder(context(dag="mine")).removeprefix("airflow:mine/r1"), []).append(task.label)
assert {part: len(labels) for part, labels in parts.items()} == {
    " deploy_counts": 10, " keep": 1, " all.rest": 1, " all.again": 10}, parts
# Of a mapped task, each for itself.
assert dag.get_task("keep").holder(context(dag="mine", index=2)) == "airflow:mine/r1 keep[2]"
# A job's own DAG does one operation in a run.
assert {task.holder(context()) for task in own.tasks} == {"airflow:deploy.counts/r1"}
""",
    )


def test_tasks_of_one_run_wait_for_each_other_and_roll_back_only_their_own(tmp_path):
    run(
        tmp_path,
        """
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowSkipException
from sluice.airflow.deploy_tasks import deploy_group
from sluice.airflow.savepoint import SavepointOperator

runs["mine", "r1"] = "running"
with DAG("mine", schedule=None) as dag:
    deploy_group("counts")
    SavepointOperator(task_id="keep", job="counts")
keep, switch, back = (dag.get_task(name) for name in ("keep", "deploy_counts.switch_over", "deploy_counts.roll_back"))
where = context(dag="mine")


def waits_as(task):
    try:
        task.wait_for_lock(where, project)
    except TaskDeferred:
        return True
    return False


operation = begin(keep.holder(where), "savepoint")
assert (waits_as(switch), waits_as(keep)) == (True, False)
back.project = lambda: project
try:
    back.execute(where)
    raise SystemExit("it took back what the other task does")
except AirflowSkipException:
    pass
assert ledger.active("counts").id == operation.id
operation.finish("taken")
operation = begin(switch.holder(where))
assert (waits_as(switch), waits_as(keep)) == (False, True)
assert back.held(project, where).id == operation.id
""",
    )


def test_lock_trigger_fires_when_the_operation_ends_or_after_a_minute(tmp_path):
    run(
        tmp_path,
        """
lock_trigger.ledger_of = lambda root, environment: project.ledger
lock_trigger._LEDGER_PAUSE = 0.01
operation = begin("airflow:deploy.counts/r2")


async def fires(trigger):
    async for event in trigger.run():
        return event.payload


async def main():
    trigger = lock_trigger.OperationTrigger(root=None, environment=None, operation=operation.id)
    waiting = asyncio.create_task(fires(trigger))
    await asyncio.sleep(0.1)
    assert not waiting.done()
    operation.finish("healthy")
    assert await asyncio.wait_for(waiting, 10) == {}
    lock_trigger._HOLDER_CHECK = 0.0
    goes_on = begin("airflow:deploy.counts/r3")
    assert await fires(lock_trigger.OperationTrigger(root=None, environment=None, operation=goes_on.id)) == {}


asyncio.run(main())
""",
    )
