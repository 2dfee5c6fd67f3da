"""Runs that the sweep starts: how long it waits for one, and what ends the wait."""

import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred
from airflow.sdk.execution_time.comms import DagRunStateResult, DRCount, OKResponse, TriggerDagRun
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

from sluice.airflow.dags import sweep_dag
from sluice.airflow.deploy_run import DeployRunOperator, DeployRunTrigger
from tests.simulator.clock import SimulatedClock
from tests.unit.airflow.tasks import context, event_of, execute


class Supervisor:
    """Answers as Airflow's supervisor does.

    Attributes:
        sent: The requests.
        runs: The states of the runs, by their ids.
    """

    def __init__(self):
        self.sent, self.runs = [], {}

    def send(self, msg):
        self.sent.append(msg)
        match type(msg).__name__:
            case "TriggerDagRun":
                self.runs[msg.run_id] = "queued"
                return OKResponse(ok=True)
            case "GetDRCount":
                return DRCount(count=sum(1 for run in msg.run_ids if run in self.runs))
            case "GetDagRunState":
                return DagRunStateResult(state=self.runs[msg.run_id])
            case "GetDag":
                return SimpleNamespace(is_paused=False)
        return OKResponse(ok=True)


@pytest.fixture
def supervisor(connect):
    return connect(Supervisor())


@pytest.fixture
def file(tmp_path):
    """The file of the job `counts`."""
    (tmp_path / "flink_jobs").mkdir()
    found = tmp_path / "flink_jobs" / "counts.py"
    found.touch()
    return found


def operator(root, within=timedelta(days=1), conf=None):
    with DAG("redeploy_and_verify", schedule=None):
        return DeployRunOperator(
            task_id="operate",
            root=str(root),
            within=within,
            trigger_dag_id="deploy.counts",
            trigger_run_id="r1",
            conf=conf or {},
            wait_for_completion=True,
            fail_when_dag_is_paused=True,
            poke_interval=1,
            deferrable=True,
        )


def sweep(began):
    """The context of a task of the sweep that began then."""
    found = context("redeploy_and_verify", get_dag=RuntimeTaskInstance.get_dag)
    found["dag_run"].start_date = began
    return found


def fired(file, seconds, clock=None):
    """The event of a trigger with a deadline in so many seconds, and how long it has waited."""
    clock = clock or SimulatedClock()
    trigger = DeployRunTrigger(dag_id="deploy.counts", run_id="r1", file=str(file), deadline=time.time() + seconds)
    trigger.clock = clock
    return event_of(trigger), clock.waited


def end(root, status):
    operator(root).ended(context(), {"status": status}, run="r1")


def test_sweep_waits_for_a_run_until_one_interval_after_its_own_start(supervisor, tmp_path):
    began = datetime.now(UTC) - timedelta(minutes=4)
    where = sweep(began)
    with pytest.raises(TaskDeferred) as raised:
        execute(operator(tmp_path, timedelta(minutes=10), {"reason": "{{ x"}), where)
    deferred = raised.value
    [made] = [each for each in supervisor.sent if isinstance(each, TriggerDagRun)]
    assert (made.dag_id, made.run_id, made.conf) == ("deploy.counts", "r1", {"reason": "{{ x"})
    assert where["ti"].xcoms["trigger_run_id"] == "r1"
    assert deferred.trigger.deadline == (began + timedelta(minutes=10)).timestamp()
    assert timedelta(minutes=6) < deferred.timeout < timedelta(minutes=9)


def test_trigger_of_a_run_can_be_rebuilt_from_its_serialization():
    path, kept = DeployRunTrigger(dag_id="d", run_id="r1", file="f", deadline=9.0, pause=2.0).serialize()
    assert path == "sluice.airflow.deploy_run.DeployRunTrigger"
    assert kept == {"dag_id": "d", "run_id": "r1", "file": "f", "deadline": 9.0, "pause": 2.0}
    assert DeployRunTrigger(**kept).serialize() == (path, kept)


def test_run_that_is_started_after_the_deadline_is_not_awaited(supervisor, tmp_path):
    late = sweep(datetime.now(UTC) - timedelta(minutes=11))
    with pytest.raises(AirflowSkipException, match=r"^run r1 of deploy\.counts still runs at this sweep's deadline"):
        execute(operator(tmp_path, timedelta(minutes=10)), late)
    assert supervisor.runs == {"r1": "queued"}


def test_waiting_for_an_unfinished_run_stops_at_the_deadline(supervisor, file, tmp_path):
    supervisor.runs["r1"] = "running"
    event, waited = fired(file, 3_600)
    assert event == {"status": "late"}
    assert 3_590 < waited < 3_610
    with pytest.raises(AirflowSkipException):
        end(tmp_path, "late")


def test_run_whose_job_file_was_removed_fails_before_the_deadline(supervisor, file, tmp_path):
    supervisor.runs["r1"] = "running"
    file.unlink()
    event, waited = fired(file, 3_600)
    assert event == {"status": "removed"}
    assert waited < 60
    with pytest.raises(AirflowFailException) as failure:
        end(tmp_path, "removed")
    assert str(failure.value) == (
        "the file of counts was removed while run r1 of deploy.counts ran: Airflow no longer schedules its tasks; put "
        "flink_jobs/counts.py back, or mark the run as failed"
    )


def test_run_that_ends_although_its_job_file_was_removed_has_ended(supervisor, file):
    """Also if it ends at the moment at which the file counts as removed."""

    class EndingClock(SimulatedClock):
        async def pause(self, seconds):
            await super().pause(seconds)
            if self.waited >= 30:
                supervisor.runs["r1"] = "success"

    supervisor.runs["r1"] = "running"
    file.unlink()
    assert fired(file, 3_600, EndingClock()) == ({"status": "success"}, 30)


@pytest.mark.parametrize("state", ["success", "failed"])
def test_waiting_stops_with_the_state_of_the_run(supervisor, file, state):
    supervisor.runs["r1"] = state
    assert fired(file, 3_600) == ({"status": state}, 0)


def test_waiting_stops_if_the_run_was_deleted(supervisor, file):
    assert fired(file, 3_600) == ({"status": "deleted"}, 0)


@pytest.mark.parametrize(
    ("status", "words"),
    [
        ("failed", "run r1 of deploy.counts has failed: see its tasks"),
        ("deleted", "run r1 of deploy.counts was deleted while it ran"),
    ],
)
def test_task_fails_with_the_failure_of_its_run(tmp_path, status, words):
    with pytest.raises(AirflowFailException) as failure:
        end(tmp_path, status)
    assert str(failure.value) == words


def test_task_succeeds_with_its_run(tmp_path):
    end(tmp_path, "success")


@pytest.mark.parametrize(
    ("schedule", "within", "timeout"),
    [
        ("*/10 * * * *", timedelta(minutes=10), timedelta(minutes=20)),
        ("* * * * *", timedelta(minutes=1), timedelta(minutes=15)),
        ("*/10,*/15 8-18 * * *", timedelta(minutes=5), timedelta(minutes=15)),
        ("@daily", timedelta(hours=2), timedelta(hours=4)),
        ("0 0 31 2 *", timedelta(hours=2), timedelta(hours=4)),
        ("none", timedelta(hours=2), timedelta(hours=4)),
    ],
)
def test_sweep_timeouts_derive_from_the_interval_of_its_schedule(file, monkeypatch, schedule, within, timeout):
    monkeypatch.setenv("SLUICE_SWEEP_SCHEDULE", schedule)
    dag = sweep_dag(file.parents[1])
    assert dag.get_task("operate").partial_kwargs["within"] == within
    # The sweep's run must not end before `verify` has recorded the unfinished runs.
    assert dag.dagrun_timeout == timeout > within
    assert dag.get_task("sweep").budget < within
