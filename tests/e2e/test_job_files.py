"""A new job file, a broken one, and a deployment file that contradicts a topic."""

import pytest

from sluice.cli.scaffold import write_job
from sluice.local.traffic import wire
from tests.e2e.running import await_dag, deploy, get, status
from tests.support.sharing import deployment_line
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("main_job")


def test_new_job_file_alone_gives_a_deployable_job(airflow, root, local):
    write_job(root, "page_counts")
    await_dag(airflow, "deploy.page_counts")
    run, _ = deploy(airflow, "page_counts")
    assert run["state"] == "success"
    row = status(root, "page_counts")[0]
    assert (row.state, row.verdict, row.release) == ("RUNNING", "healthy", 1)
    assert "page_counts" in {row.job for row in status(root)}
    assert wait_for(lambda: wire.rows(local.kafka_servers, "page_counts"))[0].keys() == {
        "window_start",
        "window_end",
        "url",
        "event_count",
    }


def test_broken_job_file_shows_its_error_and_hides_no_other_job(airflow, root):
    spoilt = root / "flink_jobs" / "spoilt.py"
    spoilt.write_text("import no_such_module\n")
    await_dag(airflow, "deploy.spoilt")
    dag = get(airflow, "/dags/deploy.spoilt")
    assert "flink_jobs/spoilt.py:1: ModuleNotFoundError: No module named 'no_such_module'" in dag["description"]
    assert get(airflow, "/dags/deploy.event_metrics")["is_stale"] is False
    assert {row.job: row.state for row in status(root)}["spoilt"] == "broken"
    spoilt.unlink()


def test_deploy_of_a_job_with_a_differing_topic_fails_without_retries(airflow, root):
    with deployment_line(root, "performance_metrics", "writes: {partitions: 2}"):
        run, tasks = deploy(airflow, "performance_metrics")
    assert run["state"] == "failed"
    assert (tasks["plan"]["state"], tasks["plan"]["try_number"]) == ("failed", 1)
    assert tasks["switch_over"]["state"] == "upstream_failed"
    path = f"/dags/deploy.performance_metrics/dagRuns/{run['dag_run_id']}/taskInstances/plan/logs/1"
    assert "topic performance_metrics has 3 partitions, the job declares 2" in airflow.get(path).text
    assert status(root, "performance_metrics")[0].verdict == "healthy"
