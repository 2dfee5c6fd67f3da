"""A savepoint as a task: it waits in the triggerer, and a killed run frees the job."""

import asyncio

import httpx
import pytest
from airflow.sdk.exceptions import AirflowException, AirflowFailException, TaskDeferred

from sluice.airflow.savepoint import SavepointOperator
from sluice.airflow.triggers import SavepointTrigger
from tests.simulator.simulated import JOB
from tests.unit.airflow.tasks import context, event_of, execute, on


class Savepoints:
    """Tasks that take a savepoint of the running job.

    Attributes:
        simulated: The project.
        job: The Flink job.
    """

    def __init__(self, simulated):
        self.simulated, self.job = simulated, simulated.deploy().flink_job_id

    @property
    def task(self):
        root = str(self.simulated.project.settings.root)
        return on(
            self.simulated.project,
            SavepointOperator(task_id="keep", job=JOB, reason="why", root=root, environment="test"),
        )

    def begin(self):
        """Execute the task until it waits; how it waits. Its trigger works on the simulated cluster."""
        with pytest.raises(TaskDeferred) as deferred:
            execute(self.task, context("migrate", runs={("migrate", "r1"): "running"}))
        deferred.value.trigger.project = self._project
        return deferred.value

    def end(self, event):
        """Continue the task with the trigger's event."""
        return self.task.taken(context("migrate"), event)

    async def _project(self):
        return self.simulated.project

    @property
    def newest(self):
        """The newest operation."""
        return self.simulated.ledger.operations(JOB)[0]


@pytest.fixture
def savepoints(simulated):
    return Savepoints(simulated)


def in_progress(_job, _trigger):
    return httpx.Response(200, json={"status": {"id": "IN_PROGRESS"}})


def no_answer(_job, _trigger):
    raise httpx.ConnectError("refused")


RESULT = r"GET /jobs/(\w+)/savepoints/(\w+)"


def test_savepoint_operator_defers_and_records_the_location(savepoints):
    waits = savepoints.begin()
    assert waits.method_name == "taken"
    _, kept = waits.trigger.serialize()
    assert SavepointTrigger(**kept).ordered == waits.trigger.ordered
    row = savepoints.end(event_of(waits.trigger))
    [(_, path)] = savepoints.simulated.cluster.savepoints.values()
    assert (row["savepoint"], row["release"], row["flink_job_id"]) == (path, 1, savepoints.job)
    newest = savepoints.newest
    assert (newest.outcome, newest.note, newest.active_job) == ("taken", "why", None)


def test_cluster_that_does_not_answer_leaves_the_savepoint_to_a_retry(savepoints):
    first = savepoints.begin()
    savepoints.simulated.cluster.answers = {RESULT: no_answer}
    with pytest.raises(AirflowException) as failure:
        savepoints.end(event_of(first.trigger))
    assert not isinstance(failure.value, AirflowFailException)
    assert savepoints.begin().trigger.ordered == first.trigger.ordered


def test_savepoint_that_is_not_complete_in_time_frees_the_job(savepoints):
    waits = savepoints.begin()
    savepoints.simulated.cluster.answers = {RESULT: in_progress}
    waits.trigger.deadline = 0.0
    event = event_of(waits.trigger)
    assert event["failure"] == "it was not complete in time"
    with pytest.raises(AirflowException, match="the savepoint failed, the job runs on: it was not complete in time"):
        savepoints.end(event)
    assert savepoints.simulated.ledger.active(JOB) is None


def test_killed_trigger_frees_the_job_unless_a_newer_try_holds_it(savepoints):
    first = savepoints.begin()
    second = savepoints.begin()
    # Airflow may kill the first try's trigger after the second try has begun.
    asyncio.run(first.trigger.on_kill())
    assert savepoints.simulated.ledger.active(JOB) is not None
    asyncio.run(second.trigger.on_kill())
    assert savepoints.simulated.ledger.active(JOB) is None
    assert savepoints.newest.outcome == "abandoned"
    asyncio.run(second.trigger.on_kill())
