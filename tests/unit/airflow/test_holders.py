"""Runs that hold a job's lock: which have ended, and which wait for them."""

from types import SimpleNamespace

import pytest
from airflow.sdk import DAG, TaskGroup
from airflow.sdk.exceptions import AirflowSkipException, TaskDeferred

from sluice.airflow.base import SluiceOperator
from sluice.airflow.deploy import SuspendOperator
from sluice.airflow.deploy_tasks import deploy_group, deploy_tasks
from sluice.airflow.holders import has_ended
from sluice.airflow.lock_trigger import OperationTrigger
from sluice.airflow.savepoint import SavepointOperator
from sluice.clock import MACHINE
from sluice.ledger.ledger import Ledger, NewRelease
from tests.simulator.clock import SimulatedClock
from tests.support.ledgers import new_ledger
from tests.unit.airflow.tasks import context, event_of, execute, on


class Runs:
    """A project, and the runs of an Airflow.

    Attributes:
        states: The states of the runs, by DAG and run.
    """

    def __init__(self, root):
        (root / "flink_jobs").mkdir()
        self.root, self.ledger = str(root), Ledger(new_ledger(root / ".sluice"), "test")
        self.project = SimpleNamespace(ledger=self.ledger, clock=MACHINE)
        self.states = {}

    def context(self, run="r1", dag="deploy.counts", index=-1):
        return context(dag, run, runs=self.states, map_index=index)

    def begin(self, holder, kind="deploy"):
        release = NewRelease(fingerprint=holder, artifact="a", module="m", resolved={})
        return self.ledger.begin("counts", kind=kind, holder=holder, release=release)

    def deferred(self, task=None, *, run="r1", dag="deploy.counts"):
        """How the task waits for the lock; None: it doesn't."""
        task = task or SluiceOperator(task_id="t", job="counts")
        try:
            task.wait_for_lock(self.context(run, dag), self.project)
        except TaskDeferred as deferred:
            return deferred
        return None


@pytest.fixture
def runs(tmp_path):
    return Runs(tmp_path)


@pytest.mark.parametrize(
    ("holder", "expected"),
    [
        ("airflow:deploy.counts/a/b", False),
        ("airflow:mine/1", False),
        ("airflow:mine/2", True),
        ("airflow:deploy.counts/deleted", True),
        # Another Airflow may use the same ledger.
        ("airflow:other/unknown", False),
        ("shell:me@here:1", False),
        # Parts of runs, and a run with spaces in its name.
        ("airflow:mine/1 deploy_counts", False),
        ("airflow:mine/2 keep[3]", True),
        ("airflow:mine/with spaces", False),
    ],
)
def test_holder_has_ended_when_airflow_has_no_running_run_for_it(runs, holder, expected):
    runs.states = {
        ("deploy.counts", "a/b"): "running",
        ("mine", "1"): "queued",
        ("mine", "2"): "failed",
        ("mine", "with spaces"): "running",
    }
    assert has_ended(runs.context(), holder) is expected


def test_run_waits_only_for_running_dag_runs_that_hold_the_job(runs):
    assert runs.deferred() is None
    runs.states["deploy.counts", "r2"] = "running"
    operation = runs.begin("airflow:deploy.counts/r2")
    deferred = runs.deferred()
    assert (deferred.method_name, deferred.trigger.operation) == ("continue_after_wait", operation.id)
    assert runs.deferred(run="r2") is None
    runs.states["deploy.counts", "r2"] = "failed"
    assert runs.deferred() is None
    operation.finish("failed")
    runs.begin("shell:me@elsewhere:1")
    assert runs.deferred() is None


def test_each_group_and_operator_of_a_run_is_a_separate_holder(runs):
    with DAG("mine", schedule=None) as dag:
        deploy_group("counts")
        SavepointOperator(task_id="keep", job="counts")
        with TaskGroup("all"):
            SuspendOperator(task_id="rest", job="counts")
            deploy_group("counts", group_id="again")
    parts = {}
    for task in dag.tasks:
        part = task.holder(runs.context(dag="mine")).removeprefix("airflow:mine/r1")
        parts.setdefault(part, []).append(task.label)
    assert {part: len(labels) for part, labels in parts.items()} == {
        " deploy_counts": 10,
        " keep": 1,
        " all.rest": 1,
        " all.again": 10,
    }
    # Each instance of a mapped task is a holder.
    assert dag.get_task("keep").holder(runs.context(dag="mine", index=2)) == "airflow:mine/r1 keep[2]"


def test_all_tasks_of_a_jobs_own_deploy_dag_are_one_holder(runs):
    with DAG("deploy.counts", schedule=None) as dag:
        deploy_tasks(common={"job": "counts"})
    assert {task.holder(runs.context()) for task in dag.tasks} == {"airflow:deploy.counts/r1"}


def test_tasks_of_one_run_wait_for_each_other_and_roll_back_only_their_own(runs):
    runs.states["mine", "r1"] = "running"
    with DAG("mine", schedule=None) as dag:
        deploy_group("counts")
        SavepointOperator(task_id="keep", job="counts")
    keep, switch = dag.get_task("keep"), dag.get_task("deploy_counts.switch_over")
    back = on(runs.project, dag.get_task("deploy_counts.roll_back"))
    where = runs.context(dag="mine")

    operation = runs.begin(keep.holder(where), "savepoint")
    assert runs.deferred(switch, dag="mine")
    assert not runs.deferred(keep, dag="mine")
    with pytest.raises(AirflowSkipException):
        execute(back, where)
    assert runs.ledger.active("counts").id == operation.id
    operation.finish("taken")

    operation = runs.begin(switch.holder(where))
    assert not runs.deferred(switch, dag="mine")
    assert runs.deferred(keep, dag="mine")
    assert back.held(runs.project, where).id == operation.id


class EndingClock(SimulatedClock):
    """A clock at whose second pause an operation ends."""

    def __init__(self, operation):
        super().__init__()
        self._operation, self.pauses = operation, 0

    async def pause(self, seconds):
        self.pauses += 1
        if self.pauses == 2:
            self._operation.finish("healthy")
        await super().pause(seconds)


def test_lock_trigger_fires_when_the_operation_ends(runs):
    operation = runs.begin("airflow:deploy.counts/r2")
    trigger = OperationTrigger(root=runs.root, environment="test", operation=operation.id)
    trigger.clock = EndingClock(operation)
    assert event_of(trigger) == {}
    assert (trigger.clock.pauses, trigger.clock.waited < 60) == (2, True)


def test_lock_trigger_fires_after_a_minute_since_the_holder_may_have_died(runs):
    operation = runs.begin("airflow:deploy.counts/r2")
    trigger = OperationTrigger(root=runs.root, environment="test", operation=operation.id)
    trigger.clock = SimulatedClock()
    assert event_of(trigger) == {}
    assert runs.ledger.active("counts").id == operation.id
    assert trigger.clock.waited >= 60
