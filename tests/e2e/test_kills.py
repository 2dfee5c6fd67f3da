"""A task of a deploy is killed while its job stops."""

import psutil
import pytest

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from tests.e2e.running import deploy, get, process_of, status, tasks_of
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("main_job", "own_clients")


def test_retry_continues_the_operation_of_a_task_killed_while_the_job_stops(airflow, root, local, ledger):
    before = status(root, "performance_metrics")[0]

    def kill_the_task():
        [run] = wait_for(lambda: get(airflow, "/dags/deploy.performance_metrics/dagRuns", state="running")["dag_runs"])
        path = f"/dags/deploy.performance_metrics/dagRuns/{run['dag_run_id']}"
        process = wait_for(lambda: process_of(tasks_of(airflow, path)["switch_over"]), pause=0.1)
        wait_for(lambda: ledger.placement("performance_metrics").phase == "stopping", pause=0.02)
        assert len([child for child in process.children() if is_client(child)]) == 1
        process.kill()

    run, tasks = deploy(airflow, "performance_metrics", kill_the_task, config_window="30s", allow_state_loss=True)
    assert run["state"] == "success"
    assert (tasks["switch_over"]["state"], tasks["switch_over"]["try_number"]) == ("success", 2)
    after = status(root, "performance_metrics")[0]
    assert (after.state, after.release, after.drift) == ("RUNNING", before.release + 1, False)
    with FlinkClient(local.flink_url) as flink:
        alive = [job for job in flink.send(calls.jobs()).jobs if job.name == "performance_metrics"]
    assert [job.id for job in alive if not job.state.is_terminal] == [after.flink_job_id]
    operation = ledger.operations("performance_metrics")[0]
    assert (operation.outcome, operation.restored_from) == ("healthy", None)
    # One operation did it all: the second try went on with the first one's.
    assert [row.release for row in ledger.operations("performance_metrics")] == [after.release, before.release]


def is_client(process):
    """Whether it compiles or submits a job."""
    try:
        return bool({"sluice.client", "sluice.client.Submitter"}.intersection(process.cmdline()))
    except psutil.Error:
        return False
