"""A whole operation as one task: when it rolls back, and when a retry continues."""

from contextlib import nullcontext
from functools import partial

import httpx
import pytest
from airflow.sdk.bases.operator import TRIGGER_FAIL_REPR, TriggerFailureReason
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    TaskDeferralError,
    TaskDeferralTimeout,
    TaskDeferred,
)
from sqlalchemy.exc import OperationalError

from sluice.airflow.deploy import DeployOperator, ResumeOperator, RollBackToOperator, SuspendOperator
from sluice.errors import FlinkError, OperationError, UnreachableError
from sluice.health.gates import Reading
from tests.simulator.simulated import JOB
from tests.unit.airflow.tasks import OutletEvents, context, execute, on, raises

LAST = 3
"""The number of the last try of a task with two retries."""
LAGS = Reading(passed=False, words="12 records behind")
PASSED = {"passed": True, "words": "0 records behind"}


class Deploys:
    """Tasks that deploy release 2, while release 1 runs.

    Attributes:
        simulated: The project.
        readings: What the gates of release 2 read, by gate, if they are not passed: a reading, or an error.
        first: The Flink job of release 1.
    """

    def __init__(self, simulated):
        self.simulated, self.readings = simulated, {}
        self.first = simulated.deploy().flink_job_id
        simulated.gates = self._read_gates

    async def _read_gates(self, _project, order):
        is_new = self.simulated.cluster.releases[order.flink_job_id] == 2
        for gate in order.gates:
            passed = Reading(passed=True, words=f"{gate} passed")
            found = self.readings.get(gate, passed) if is_new else passed
            if isinstance(found, Exception):
                raise found
            yield gate, found

    def task(self, kind=DeployOperator, **given):
        if kind is DeployOperator:
            given = {"config": {"least": 1}, **given}
        return on(self.simulated.project, kind(task_id="t", job=JOB, **given))

    def execute(self, try_number=1, events=None):
        return execute(self.task(), _context(try_number, events))

    def deferred(self, gate="consumer_lag"):
        """Execute the task until it waits for a gate; the arguments with which Airflow continues it."""
        self.readings[gate] = LAGS
        with pytest.raises(TaskDeferred) as deferred:
            self.execute()
        del self.readings[gate]
        assert deferred.value.method_name == "passed"
        return deferred.value.kwargs

    def resume(self, event, arguments, try_number=1, events=None):
        """Continue as Airflow does when the trigger has fired."""
        return self.task().resume_execution("passed", {"event": event, **arguments}, _context(try_number, events))

    @property
    def running(self):
        """The release that runs on the cluster; None: none does."""
        place, running = self.simulated.place, self.simulated.cluster.running_jobs()
        assert len(running) < 2
        return place.release if running == [place.flink_job_id] else None

    @property
    def newest(self):
        """The newest operation."""
        return self.simulated.ledger.operations(JOB)[0]


def _context(try_number, events):
    """The context of a try; `events`: its asset events."""
    where = context(try_number=try_number)
    return where if events is None else {**where, "outlet_events": events}


@pytest.fixture
def deploys(simulated):
    return Deploys(simulated)


@pytest.fixture
def measured(deploys):
    """The clusters' times are such that a replacement has a downtime of 900 ms."""
    cluster = deploys.simulated.cluster

    def detail(job):
        vertex = {"id": "v", "name": "v", "parallelism": 1, "maxParallelism": 1, "status": "RUNNING", "tasks": {}}
        times = {"start-time": 1, "end-time": 1_000 if job == deploys.first else -1, "now": 2_000}
        return httpx.Response(200, json={"jid": job, "name": JOB, "state": "RUNNING", **times, "vertices": [vertex]})

    def times(_job):
        return httpx.Response(200, json={"subtasks": [{"subtask": 0, "timestamps": {"RUNNING": 1_900}}]})

    cluster.answers = {r"GET /jobs/(\w{32})": detail, r"GET /jobs/(\w+)/vertices/v/subtasktimes": times}
    return deploys


def test_job_that_passes_all_gates_at_once_is_not_deferred(measured):
    row = measured.execute()
    assert (row["job"], row["outcome"], row["release"], row["downtime_ms"]) == (JOB, "healthy", 2, 900)
    assert row["operation"] == measured.newest.id
    # The gate `running` has recorded that the job has completed a checkpoint.
    assert measured.simulated.place.had_checkpoint


def test_deploy_emits_an_event_of_the_jobs_asset(deploys):
    events = OutletEvents()
    deploys.execute(events=events)
    assert events[f"sluice://job/{JOB}"].extra["operation"] == deploys.newest.id
    assert [each.uri for each in deploys.task().outlets] == [f"sluice://job/{JOB}"]


def test_deploy_waits_for_a_gate_in_the_triggerer_and_continues_with_the_next(deploys):
    arguments = deploys.deferred("consumer_lag")
    assert arguments["gate"] == "consumer_lag"
    assert (arguments["started"]["operation"], arguments["started"]["release"]) == (deploys.newest.id, 2)
    assert deploys.resume(PASSED, arguments)["outcome"] == "healthy"
    assert deploys.running == 2


def test_gate_that_fails_in_the_triggerer_rolls_back_without_retries(deploys):
    arguments = deploys.deferred("watermark")
    with pytest.raises(AirflowFailException, match=f"{JOB}: watermark: stuck; release 1 runs again"):
        deploys.resume({"passed": False, "words": "stuck"}, arguments)
    # The reason is that of the journal's entry, without the job and the release.
    assert deploys.newest.reason.startswith("watermark: stuck; ")
    assert (deploys.newest.outcome, deploys.running) == ("rolled_back", 1)


def test_gate_that_can_not_pass_any_more_rolls_back_without_retries(deploys):
    deploys.readings["running"] = Reading(passed=False, hopeless=True, words="it has failed")
    with pytest.raises(AirflowFailException, match=f"{JOB}: running: it has failed; release 1 runs again"):
        deploys.execute()
    assert deploys.running == 1


@pytest.mark.parametrize(("try_number", "running"), [(1, None), (2, None), (LAST, 1)])
def test_error_that_a_retry_may_correct_is_rolled_back_by_the_last_try(deploys, try_number, running):
    deploys.simulated.cluster.submit_errors = [OperationError("the client has ended")]
    with pytest.raises(AirflowException, match="the client has ended") as failure:
        deploys.execute(try_number)
    assert isinstance(failure.value, AirflowFailException) is (try_number == LAST)
    assert deploys.running == running
    if running:
        assert deploys.newest.reason.startswith("the client has ended")


def test_error_that_no_retry_corrects_is_rolled_back_by_the_first_try(deploys):
    deploys.simulated.cluster.submit_errors = [FlinkError("refused")]
    with pytest.raises(AirflowFailException, match="refused.*; release 1 runs again"):
        deploys.execute()
    assert deploys.running == 1


def fail_to_settle(deploys):
    def no_answer():
        raise httpx.ConnectError("Flink does not answer")

    deploys.simulated.cluster.at_request(f"GET /jobs/{deploys.first}", no_answer)
    return nullcontext()


def fail_to_commit(deploys):
    commit = OperationalError("COMMIT", {}, Exception("the ledger does not answer"))
    return deploys.simulated.ledger.at_write("before", "end", raises(commit))


def fail_to_read_a_gate(deploys):
    deploys.readings["watermark"] = KeyError("release")
    return nullcontext()


@pytest.mark.parametrize("is_resumed", [False, True], ids=["at once", "after a wait"])
@pytest.mark.parametrize("try_number", [1, 2, LAST])
@pytest.mark.parametrize(
    ("fail", "words"),
    [
        (fail_to_settle, "does not answer"),
        (fail_to_commit, "the ledger does not answer"),
        (fail_to_read_a_gate, "release"),
    ],
)
def test_any_error_during_verification_is_rolled_back_by_the_last_try(deploys, fail, words, try_number, is_resumed):
    end = partial(deploys.resume, PASSED, deploys.deferred()) if is_resumed else deploys.execute
    with fail(deploys), pytest.raises(Exception, match=words) as failure:
        end(try_number=try_number)
    is_last = try_number == LAST
    assert ("release 1 runs again" in str(failure.value)) is is_last
    assert deploys.running == (1 if is_last else 2)


@pytest.mark.parametrize("is_resumed", [False, True], ids=["at once", "after a wait"])
def test_error_after_the_end_of_the_operation_rolls_nothing_back(deploys, is_resumed):
    class NoEvents:
        __getitem__ = raises(RuntimeError("no event"))

    end = partial(deploys.resume, PASSED, deploys.deferred()) if is_resumed else deploys.execute
    with pytest.raises(RuntimeError, match="no event"):
        end(try_number=LAST, events=NoEvents())
    assert (deploys.newest.outcome, deploys.running) == ("healthy", 2)


def test_deferral_of_the_last_try_is_not_rolled_back(deploys):
    deploys.readings["consumer_lag"] = LAGS
    with pytest.raises(TaskDeferred):
        deploys.execute(LAST)
    assert deploys.running == 2


def test_failure_to_extend_the_lease_is_rolled_back(deploys):
    deploys.readings["consumer_lag"] = LAGS
    task = deploys.task()
    task.extend_lease = raises(UnreachableError("the ledger does not answer"))
    with pytest.raises(AirflowFailException, match="the ledger does not answer; release 1 runs again"):
        execute(task, context(try_number=LAST))
    assert deploys.running == 1


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        (TriggerFailureReason.TRIGGER_TIMEOUT, TaskDeferralTimeout),
        (TriggerFailureReason.TRIGGER_FAILURE, TaskDeferralError),
    ],
)
def test_failed_or_timed_out_trigger_is_rolled_back_by_the_last_try(deploys, reason, kind):
    deploys.deferred()

    def fail(try_number):
        event = {"error": reason, "traceback": ["x"]}
        deploys.task().resume_execution(TRIGGER_FAIL_REPR, event, context(try_number=try_number))

    with pytest.raises(kind) as failure:
        fail(1)
    assert type(failure.value) is kind
    assert deploys.running == 2
    with pytest.raises(AirflowFailException, match="release 1 runs again"):
        fail(LAST)
    assert deploys.newest.reason.startswith(str(kind(reason)))
    assert deploys.running == 1


def test_error_is_unchanged_if_there_is_nothing_to_roll_back(deploys):
    deploys.simulated.deploy(kind="suspend")
    suspension = deploys.newest.id
    with pytest.raises(AirflowFailException) as failure:
        deploys.execute(LAST)
    assert str(failure.value) == str(failure.value.__cause__)
    assert "suspended" in str(failure.value)
    assert (deploys.newest.id, deploys.simulated.place.phase) == (suspension, "suspended")


@pytest.mark.parametrize(
    ("kind", "operation"),
    [
        (DeployOperator, "deploy"),
        (RollBackToOperator, "rollback"),
        (SuspendOperator, "suspend"),
        (ResumeOperator, "resume"),
    ],
)
def test_each_operator_requests_the_operation_of_its_name(kind, operation):
    assert kind(task_id="t", job=JOB).asked["operation"] == operation


def test_operator_has_the_fields_of_a_request_as_arguments():
    asked = RollBackToOperator(task_id="t", job=JOB, to_release=3, mode="last-state", reason="it is slow").asked
    assert (asked["to_release"], asked["mode"], asked["reason"]) == (3, "last-state", "it is slow")
    assert DeployOperator(task_id="t", job=JOB, config={"window": "30s"}).asked["config_window"] == "30s"
