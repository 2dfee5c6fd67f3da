"""Sweeps of the whole fleet, and services that are killed; each test has the stack for itself."""

import os
import signal
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

from sluice.project import Project
from sluice.settings import Settings
from tests.e2e.approving import answer, log_of
from tests.e2e.rows import assert_right_rows
from tests.e2e.running import (
    ENDED,
    await_task,
    deploy,
    ended,
    get,
    parse_dags,
    print_logs,
    run_dag,
    states_of,
    status,
    tasks_of,
    trigger,
)
from tests.support.running import slots
from tests.support.sharing import deployment_line
from tests.support.waiting import wait_for
from tests.support.watching import Watch

JOB = "processing_metrics"
JOBS = ["dead_letters", "event_metrics", "performance_metrics", "processing_metrics", "session_metrics"]
LOOKS = 10
"""At each job, at the least, while nothing happens to it."""

pytestmark = [pytest.mark.usefixtures("main_job"), pytest.mark.alone]


def test_sweep_of_a_healthy_fleet_raises_no_alarm(root):
    # Those that other tests have just deployed are well within seconds.
    wait_for(lambda: {row.verdict for row in status(root, *JOBS)} == {"healthy"})
    until = time.monotonic() + 60 * float(os.environ.get("SLUICE_AUDIT_MINUTES", "0"))
    watch = Watch(lambda: Project(Settings(root=root)))

    def looked():
        found = [row for _, row in watch.seen if row.job in JOBS]
        return time.monotonic() > until and len(found) >= LOOKS * len(JOBS) and found

    rows = wait_for(looked, watched=lambda: len(watch.seen))
    watch.end()
    print(f"{len(rows)} looks at {len(JOBS)} jobs: {Counter(row.verdict for row in rows)}")
    assert {row.job for row in rows} == set(JOBS)
    assert [(row.job, row.reasons) for row in rows if row.verdict != "healthy"] == []


def test_sweep_asks_once_for_an_approval_to_lose_state(airflow, root, ledger):
    dag = f"deploy.{JOB}"
    # What a run has given lies over the file.
    run, _ = run_dag(airflow, dag, clear_overrides=True, allow_state_loss=True)
    assert run["state"] == "success"
    with deployment_line(root, JOB, "config: {metrics_window_minutes: 7}"):
        known = get(airflow, f"/dags/{dag}/dagRuns")["total_entries"]
        run, tasks = run_dag(airflow, "redeploy_and_verify")
        assert run["state"] == "success", tasks
        newest = get(airflow, f"/dags/{dag}/dagRuns", order_by="-id", limit=1)["dag_runs"][0]
        path = f"/dags/{dag}/dagRuns/{newest['dag_run_id']}"
        await_task(airflow, path, "approve", "awaiting_input")
        # The next one reports it, with where it is answered, and asks no more.
        run, tasks = run_dag(airflow, "redeploy_and_verify")
        assert (run["state"], tasks["verify"]["state"]) == ("failed", "failed")
        third, _ = run_dag(airflow, "redeploy_and_verify")
        assert third["state"] == "success"
        assert get(airflow, f"/dags/{dag}/dagRuns")["total_entries"] == known + 1
        sweep = f"/dags/redeploy_and_verify/dagRuns/{run['dag_run_id']}"
        words = log_of(airflow, sweep, "verify")
        assert "waiting for approval until" in words
        assert "/tasks/approve/required_actions" in words
        answer(airflow, path, "Reject")
        assert ended(airflow, path)["state"] == "failed"


def test_sweep_redeploys_only_the_job_that_differs(airflow, root):
    # A sweep leaves alone what it can't look at, or sees failed for the first time.
    wait_for(lambda: {row.verdict for row in status(root, *JOBS)} <= {"healthy", "degraded", "idle"})
    before = {row.job: row for row in status(root, *JOBS)}
    # No other test deploys this: a sweep waits for minutes to deploy again what another one has just deployed.
    with deployment_line(root, "event_metrics", "config: {event_types: [add_to_cart, click, page_view]}"):
        run, tasks = run_dag(airflow, "redeploy_and_verify")
        assert run["state"] == "success", tasks
        after = {row.job: row for row in status(root, *JOBS)}
        changed = {job for job in JOBS if after[job].flink_job_id != before[job].flink_job_id}
        assert changed == {"event_metrics"}
        assert after["event_metrics"].drift is False
        newest = Project(Settings(root=root)).ledger.operations("event_metrics")[0]
        assert newest.note.startswith("redeploy_and_verify: event_metrics: redeploy: it differs from release")
        assert newest.restored_from == newest.savepoint


def test_event_time_trigger_starts_a_dag_once_a_minutes_rows_are_readable(airflow, root):
    """The page's example, with minutes for hours."""
    wait_for(lambda: status(root, "event_metrics")[0].verdict == "healthy")

    def runs():
        run, _ = run_dag(airflow, "redeploy_and_verify")
        assert run["state"] == "success"
        found = get(airflow, "/dags/hourly_rows/dagRuns", order_by="-id", limit=5)["dag_runs"]
        return [run for run in found if run["state"] == "success"]

    newest = wait_for(runs)[0]
    path = f"/dags/hourly_rows/dagRuns/{newest['dag_run_id']}"
    words = airflow.get(f"{path}/taskInstances/report/logs/1").text
    assert "event_metrics: the rows from " in words
    events = get(airflow, f"{path}/upstreamAssetEvents")["asset_events"]
    payload = events[0]["extra"]["payload"]
    former, until = (datetime.fromisoformat(payload[name]) for name in ("from", "until"))
    assert until > former
    assert until.second == 0
    assert until < datetime.now(UTC)


def test_supervisor_restarts_processes_and_up_is_idempotent(stack, extra_services, root):
    killed = stack.supervisor.states()["flink-taskmanager"]["pid"]
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: stack.supervisor.states()["flink-taskmanager"]["pid"] not in (0, killed))
    untouched = {name: info["pid"] for name, info in stack.supervisor.states().items()}
    stack.up(extra=extra_services)
    assert {name: info["pid"] for name, info in stack.supervisor.states().items()} == untouched
    # Their restarts are told for ten minutes.
    wait_for(lambda: all(row.state == "RUNNING" and row.consumer_lag is not None for row in status(root, *JOBS)))


def test_sweep_recovers_every_job_after_the_cluster_was_killed(airflow, stack, root, local):
    suspended, _ = deploy(airflow, "processing_metrics", operation="suspend", reason="rests")
    assert suspended["state"] == "success"
    assert status(root, "processing_metrics")[0].state == "suspended"
    before = {row.job: row for row in status(root, *JOBS)}
    killed = {name: info["pid"] for name, info in stack.supervisor.states().items() if name.startswith("flink-")}
    for pid in killed.values():
        os.killpg(os.getpgid(pid), signal.SIGKILL)
    wait_for(lambda: all(stack.supervisor.states()[name]["pid"] not in (0, pid) for name, pid in killed.items()))
    wait_for(lambda: slots(local.flink_url))
    run, tasks = run_dag(airflow, "redeploy_and_verify")
    assert run["state"] == "success", tasks
    for row in status(root, *JOBS):
        if row.job == "processing_metrics":
            assert (row.state, row.flink_job_id) == ("suspended", before[row.job].flink_job_id)
            continue
        assert (row.state, row.release) == ("RUNNING", before[row.job].release)
        restored = Project(Settings(root=root)).ledger.placement(row.job).restored_from
        assert f"/{before[row.job].flink_job_id}/chk-" in restored
    resumed, _ = deploy(airflow, "processing_metrics", operation="resume")
    assert resumed["state"] == "success"
    # Nothing was lost, and nothing written twice.
    assert_right_rows(local, datetime.now(UTC) - timedelta(minutes=1))


def test_sweep_does_not_wait_for_a_run_whose_job_file_was_removed(stack, airflow, root):
    """The last test of this file: a run that fails here delays what the next sweeps do about its job by minutes."""
    # The job as its file has it: the sweep before has given it a setting.
    run, tasks = deploy(airflow, "event_metrics")
    assert run["state"] == "success", tasks
    airflow.patch("/dags/redeploy_and_verify", json={"is_paused": False}).raise_for_status()
    job = root / "flink_jobs" / "event_metrics.py"
    code = job.read_text()
    known = get(airflow, "/dags/deploy.event_metrics/dagRuns")["total_entries"]
    # A sweep leaves alone what was rolled back, and waits to try again what was just deployed: no other test uses this.
    with deployment_line(root, "event_metrics", "config: {event_types: [page_view, click, add_to_cart]}"):
        sweep = trigger(airflow, "redeploy_and_verify")
        try:

            def made():
                return get(airflow, "/dags/deploy.event_metrics/dagRuns")["total_entries"] > known

            def over():
                if (state := get(airflow, sweep)["state"]) in ENDED:
                    print_logs(airflow, sweep, ENDED)
                    return f"it is {state}: {states_of(airflow, sweep)}"
                return None

            wait_for(made, "the sweep makes no run", watched=lambda: states_of(airflow, sweep), lost=over)
            job.unlink()
            parse_dags(airflow)
            # Its schedule is `none`: without its file being missed, the sweep would wait for two hours.
            run = ended(airflow, sweep)
            assert run["state"] == "failed", tasks_of(airflow, sweep)
            log = airflow.get(
                f"{sweep}/taskInstances/verify/logs/{tasks_of(airflow, sweep)['verify']['try_number']}"
            ).text
            assert "the file of event_metrics was removed while run" in log
        finally:
            job.write_text(code)
            parse_dags(airflow)
    newest = get(airflow, "/dags/deploy.event_metrics/dagRuns", order_by="-id", limit=1)["dag_runs"][0]
    assert newest["conf"]["reason"].startswith("redeploy_and_verify: event_metrics: redeploy: ")
    # With its file back the run comes to its end, and the job is as its file says.
    ended(airflow, f"/dags/deploy.event_metrics/dagRuns/{newest['dag_run_id']}")
    deploy(airflow, "event_metrics")
    assert Project(Settings(root=root)).ledger.active("event_metrics") is None
