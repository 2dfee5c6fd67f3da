"""The stack after `make up`, and deploys of the main job, through Airflow's API."""

import os

import psutil
import pytest

from sluice.local.survivors import survivors
from sluice.project import Project
from sluice.settings import Settings
from tests.e2e.rows import assert_right_rows
from tests.e2e.running import deploy, get, pool, run_dag, status, trigger
from tests.support.sharing import deployment_line
from tests.support.waiting import wait_for

JOBS = ["dead_letters", "event_metrics", "performance_metrics", "processing_metrics", "session_metrics"]
TASKS = [
    "plan",
    "approve",
    "create_topics",
    "package",
    "switch_over",
    "check_running",
    "check_consumer_lag",
    "check_watermark",
    "settle",
]

pytestmark = pytest.mark.usefixtures("main_job")


def test_every_job_is_deployed_and_healthy(main_job, airflow):
    assert [row.job for row in main_job] == JOBS
    assert [(row.state, row.verdict, row.drift) for row in main_job] == [("RUNNING", "healthy", False)] * 5
    for job in JOBS:
        runs = get(airflow, f"/dags/deploy.{job}/dagRuns", limit=100)["dag_runs"]
        # Other workers deploy jobs by now.
        assert [run["state"] for run in runs if run["dag_run_id"].startswith("up__")] == ["success"]


def test_stack_listens_on_loopback_addresses_only(local):
    listening = {(ip.removeprefix("::ffff:"), port) for process in survivors(local.home) for ip, port in ears(process)}
    assert {ip for ip, _ in listening} == {"127.0.0.1"}
    assert {local.kafka_port, local.flink_port, local.flink_rpc_port, local.airflow_port} <= {p for _, p in listening}


def ears(process):
    """The addresses that a process listens on; none when it has ended meanwhile."""
    try:
        sockets = process.net_connections("inet")
    except psutil.Error:
        return []
    return [socket.laddr for socket in sockets if socket.status == psutil.CONN_LISTEN]


def test_deploy_dag_shows_all_steps_in_order(airflow):
    tasks = get(airflow, "/dags/deploy.event_metrics/tasks")["tasks"]
    following = {task["task_id"]: task["downstream_task_ids"] for task in tasks}
    order = ["plan"]
    while further := [task for task in following[order[-1]] if task != "roll_back"]:
        # XCom adds edges to each check; the story is the longest path.
        order.append(min(further, key=TASKS.index))
    assert order == TASKS
    assert "roll_back" in following["check_watermark"]
    dag = get(airflow, "/dags/deploy.event_metrics/details")
    assert "number of events and of users" in dag["description"]
    assert "`analytics_events`" in dag["doc_md"]
    assert dag["owners"] == ["data-platform"]
    assert {"sluice", "deploy", "web-analytics"} <= {tag["name"] for tag in dag["tags"]}


def test_deploy_without_a_change_does_not_restart_the_job(airflow, root, local):
    before = status(root, "event_metrics")[0]
    run, tasks = deploy(airflow, "event_metrics")
    assert run["state"] == "success"
    assert status(root, "event_metrics")[0].flink_job_id == before.flink_job_id
    path = f"/dags/deploy.event_metrics/dagRuns/{run['dag_run_id']}/taskInstances"
    xcom = get(airflow, f"{path}/plan/xcomEntries/return_value", deserialize=True)["value"]
    assert (xcom["action"], xcom["release"]) == ("none", before.release)
    # It ends after its plan task: what follows is skipped without being begun.
    assert tasks.pop("plan")["state"] == "success"
    assert {(task["state"], task["try_number"]) for task in tasks.values()} == {("skipped", 0)}


def test_setting_of_the_trigger_form_reaches_the_job_and_can_be_cleared(airflow, root, local):
    before = status(root, "event_metrics")[0]
    run, tasks = deploy(airflow, "event_metrics", config_event_types=["page_view", "click"], reason="fewer types")
    assert run["state"] == "success"
    after = status(root, "event_metrics")[0]
    path = f"/dags/deploy.event_metrics/dagRuns/{run['dag_run_id']}/taskInstances"
    assert get(airflow, f"{path}/switch_over/links") == {
        "extra_links": {"Flink UI": f"{local.flink_url}/#/job/running/{after.flink_job_id}/overview"},
        "total_entries": 1,
    }
    # None costs a task: they are skipped without being begun.
    assert {tasks.pop(task)["state"] for task in ("approve", "create_topics", "roll_back")} == {"skipped"}
    assert all(task["try_number"] == 1 for task in tasks.values())
    assert (after.state, after.release) == ("RUNNING", before.release + 1)
    assert after.flink_job_id != before.flink_job_id
    assert after.overrides == {"event_types": ["page_view", "click"]}
    newest = Project(Settings(root=root)).ledger.operations("event_metrics")[0]
    assert (newest.outcome, newest.note, newest.mode) == ("healthy", "fewer types", "savepoint")
    assert newest.restored_from == newest.savepoint
    assert newest.downtime_ms > 0
    run, _ = deploy(airflow, "event_metrics", clear_overrides=True)
    assert run["state"] == "success"
    assert status(root, "event_metrics")[0].overrides == {}


def test_job_redeployed_by_airflow_writes_the_right_rows(local):
    """Redeployed twice meanwhile."""
    assert_right_rows(local)


def test_documented_dag_waits_until_a_job_is_healthy(airflow):
    run, tasks = run_dag(airflow, "hourly_report")
    assert run["state"] == "success", tasks
    path = f"/dags/hourly_report/dagRuns/{run['dag_run_id']}/taskInstances/event_metrics_is_healthy.consumer_lag"
    reading = get(airflow, f"{path}/xcomEntries/reading", deserialize=True)["value"]
    assert (reading["gate"], reading["passed"]) == ("consumer_lag", True)
    assert reading["words"].startswith("consumer lag ")


def test_waiting_gates_hold_no_worker_slot(airflow, root):
    count = int(os.environ.get("SLUICE_AUDIT_GATES", "4"))
    pool(airflow, "waiting", count)
    # Nothing is that fresh, and no checkpoint grows younger while one waits.
    with deployment_line(root, "event_metrics", "health: {checkpoint_age: 1ms}"):
        path = trigger(airflow, "waiting")

        def states():
            found = get(airflow, f"{path}/taskInstances", limit=1000)["task_instances"]
            return [task["state"] for task in found]

        wait_for(lambda: states() == ["deferred"] * count, "not all gates wait", watched=states)
        held = get(airflow, "/pools/waiting")
        assert (held["deferred_slots"], held["occupied_slots"], held["running_slots"]) == (count, 0, 0)
        assert held["open_slots"] == held["slots"]
        print(f"{count} gates wait, {held['occupied_slots']} worker slots are held")
    airflow.patch(path, json={"state": "failed"}).raise_for_status()
