"""A job file is removed while a run of its deploy DAG goes on: the sweep that made the run does not wait for it."""

import pytest

from sluice.project import Project
from sluice.settings import Settings
from tests.e2e.running import deploy, ended, get, states_of, tasks_of, trigger
from tests.support.waiting import wait_for

JOB = "event_metrics"

pytestmark = pytest.mark.usefixtures("main_job")


def test_a_sweep_does_not_wait_for_a_run_whose_job_lost_its_file(stack, airflow, root):
    run, tasks = deploy(airflow, JOB)
    assert run["state"] == "success", tasks
    airflow.patch("/dags/redeploy_and_verify", json={"is_paused": False}).raise_for_status()
    deployment = root / "deployments" / "local.yaml"
    job = root / "flink_jobs" / f"{JOB}.py"
    settings, code = deployment.read_text(), job.read_text()
    known = get(airflow, f"/dags/deploy.{JOB}/dagRuns")["total_entries"]
    deployment.write_text(settings.replace(f"  {JOB}:\n", f"  {JOB}:\n    config: {{event_types: [click]}}\n"))
    sweep = trigger(airflow, "redeploy_and_verify")
    try:

        def made():
            return get(airflow, f"/dags/deploy.{JOB}/dagRuns")["total_entries"] > known

        wait_for(made, "the sweep makes no run", watched=lambda: states_of(airflow, sweep))
        job.unlink()
        # Its schedule is `none`: without its file being missed, the sweep would wait for two hours.
        run = ended(airflow, sweep)
        assert run["state"] == "failed", tasks_of(airflow, sweep)
        log = airflow.get(f"{sweep}/taskInstances/verify/logs/{tasks_of(airflow, sweep)['verify']['try_number']}").text
        assert f"the file of {JOB} was removed while run" in log
    finally:
        job.write_text(code)
        deployment.write_text(settings)
    newest = get(airflow, f"/dags/deploy.{JOB}/dagRuns", order_by="-id", limit=1)["dag_runs"][0]
    assert newest["conf"]["reason"].startswith(f"redeploy_and_verify: {JOB}: redeploy: ")
    # With its file back the run comes to its end, and the job is as its file says.
    ended(airflow, f"/dags/deploy.{JOB}/dagRuns/{newest['dag_run_id']}")
    deploy(airflow, JOB)
    assert Project(Settings(root=root)).ledger.active(JOB) is None
