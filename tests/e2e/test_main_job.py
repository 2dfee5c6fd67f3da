"""`make up` and what follows, through Airflow's own API."""

import os
import signal
import time

import psutil
import pytest

from sluice.cli.scaffold import write_job
from sluice.fleet.status import fleet_status
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.main_job import traffic_service
from sluice.local.traffic import wire
from sluice.project import Project
from sluice.settings import Settings
from tests.support.running import slots

JOBS = ["dead_letters", "event_metrics", "performance_metrics", "processing_metrics", "session_metrics"]
TASKS = [
    "plan",
    "create_topics",
    "package",
    "switch_over",
    "check_running",
    "check_consumer_lag",
    "check_watermark",
    "settle",
]

pytestmark = pytest.mark.usefixtures("main_job")


def wait_for(condition, timeout=90):
    deadline = time.monotonic() + timeout
    while not (answer := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(1)
    return answer


def get(airflow, path, **params):
    return airflow.get(path, params=params).raise_for_status().json()


def deploy(airflow, job, meanwhile=lambda: None, **conf):
    """Trigger deploy.<job>, wait for its end; the run and its tasks by name."""
    return run_dag(airflow, f"deploy.{job}", meanwhile, **conf)


def run_dag(airflow, dag, meanwhile=lambda: None, timeout=180, **conf):
    """Trigger a DAG, wait for its end; the run and its tasks by name."""
    run = (
        airflow.post(f"/dags/{dag}/dagRuns", json={"logical_date": None, "conf": conf})
        .raise_for_status()
        .json()["dag_run_id"]
    )
    path = f"/dags/{dag}/dagRuns/{run}"
    meanwhile()
    wait_for(lambda: get(airflow, path)["state"] in ("success", "failed"), timeout)
    tasks = {task["task_id"]: task for task in get(airflow, f"{path}/taskInstances")["task_instances"]}
    return get(airflow, path), tasks


def status(root, *jobs):
    return fleet_status(Project(Settings(root=root)), list(jobs))


def test_every_job_is_deployed_and_healthy(main_job, airflow):
    assert [row.job for row in main_job] == JOBS
    assert [(row.state, row.verdict, row.drift) for row in main_job] == [("RUNNING", "healthy", False)] * 5
    for job in JOBS:
        runs = get(airflow, f"/dags/deploy.{job}/dagRuns")["dag_runs"]
        assert [run["state"] for run in runs] == ["success"]


def test_the_graph_tells_the_story(airflow):
    tasks = get(airflow, "/dags/deploy.event_metrics/tasks")["tasks"]
    following = {task["task_id"]: task["downstream_task_ids"] for task in tasks}
    order = ["plan"]
    while further := [task for task in following[order[-1]] if task != "roll_back"]:
        # XCom adds edges to each check; the story is the longest path.
        order.append(min(further, key=TASKS.index))
    assert order == TASKS
    assert "roll_back" in following["check_watermark"]
    dag = get(airflow, "/dags/deploy.event_metrics/details")
    assert "how many users" in dag["description"]
    assert "`analytics_events`" in dag["doc_md"]
    assert dag["owners"] == ["data-platform"]
    assert {"sluice", "deploy", "web-analytics"} <= {tag["name"] for tag in dag["tags"]}


def test_a_deploy_without_a_change_leaves_the_job_alone(airflow, root, local):
    before = status(root, "event_metrics")[0]
    run, tasks = deploy(airflow, "event_metrics")
    assert run["state"] == "success"
    assert status(root, "event_metrics")[0].flink_job_id == before.flink_job_id
    path = f"/dags/deploy.event_metrics/dagRuns/{run['dag_run_id']}/taskInstances"
    assert get(airflow, f"{path}/switch_over/links") == {
        "extra_links": {"Flink UI": f"{local.flink_url}/#/job/running/{before.flink_job_id}/overview"},
        "total_entries": 1,
    }
    xcom = get(airflow, f"{path}/switch_over/xcomEntries/return_value", deserialize=True)["value"]
    assert xcom["unchanged"] is True
    assert tasks.pop("roll_back")["state"] == "skipped"
    assert all(task["try_number"] == 1 for task in tasks.values())


def test_a_setting_given_in_the_form_reaches_the_running_job_and_is_taken_back(airflow, root, local):
    before = status(root, "event_metrics")[0]
    run, _ = deploy(airflow, "event_metrics", config_event_types=["page_view", "click"], reason="fewer types")
    assert run["state"] == "success"
    after = status(root, "event_metrics")[0]
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


def test_a_task_that_is_killed_while_the_job_stops_goes_on_in_its_next_try(airflow, root, local):
    ledger = Project(Settings(root=root)).ledger
    before = status(root, "performance_metrics")[0]

    def kill_the_task():
        deadline = time.monotonic() + 90
        while ledger.placement("performance_metrics").phase != "stopping":
            assert time.monotonic() < deadline
            time.sleep(0.02)
        clients = [process for process in psutil.process_iter() if is_client_of(process, local)]
        assert len(clients) == 1
        clients[0].parent().kill()

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


def is_client_of(process, local):
    """Whether it is a client process of this stack."""
    try:
        return "sluice.client" in process.cmdline() and process.environ().get("SLUICE_HOME") == str(local.home)
    except psutil.Error:
        return False


def test_a_plan_that_abandons_state_fails_before_anything_stops(airflow, root):
    before = status(root, "processing_metrics")[0]
    run, tasks = deploy(airflow, "processing_metrics", config_metrics_window_minutes=10)
    assert (run["state"], tasks["plan"]["state"], tasks["plan"]["try_number"]) == ("failed", "failed", 1)
    assert status(root, "processing_metrics")[0].flink_job_id == before.flink_job_id


def test_a_new_file_alone_gives_a_deployable_job(airflow, root, local):
    write_job(root, "page_counts")
    wait_for(lambda: airflow.get("/dags/deploy.page_counts").status_code == 200)
    run, _ = deploy(airflow, "page_counts")
    assert run["state"] == "success"
    row = status(root, "page_counts")[0]
    assert (row.state, row.verdict, row.release) == ("RUNNING", "healthy", 1)
    assert "page_counts" in {row.job for row in status(root)}
    assert wait_for(lambda: wire.rows(local.kafka_servers, "page_counts"), 180)[0].keys() == {
        "window_start",
        "window_end",
        "url",
        "event_count",
    }


def test_a_broken_file_shows_what_is_wrong_and_hides_no_other(airflow, root):
    spoilt = root / "flink_jobs" / "spoilt.py"
    spoilt.write_text("import no_such_module\n")
    dag = wait_for(lambda: (r := airflow.get("/dags/deploy.spoilt")).status_code == 200 and r.json())
    assert "flink_jobs/spoilt.py:1: ModuleNotFoundError: No module named 'no_such_module'" in dag["description"]
    assert get(airflow, "/dags/deploy.event_metrics")["is_stale"] is False
    assert {row.job: row.state for row in status(root)}["spoilt"] == "broken"
    spoilt.unlink()


def test_a_topic_that_differs_fails_at_once_without_retries(airflow, root):
    file = root / "deployments" / "local.yaml"
    before = file.read_text()
    file.write_text(before.replace("  processing_metrics:\n", "  processing_metrics:\n    writes: {partitions: 2}\n"))
    try:
        run, tasks = deploy(airflow, "processing_metrics")
    finally:
        file.write_text(before)
    assert run["state"] == "failed"
    assert (tasks["plan"]["state"], tasks["plan"]["try_number"]) == ("failed", 1)
    assert tasks["switch_over"]["state"] == "upstream_failed"
    path = f"/dags/deploy.processing_metrics/dagRuns/{run['dag_run_id']}/taskInstances/plan/logs/1"
    assert "topic processing_metrics has 3 partitions, the job declares 2" in airflow.get(path).text
    assert status(root, "processing_metrics")[0].verdict == "healthy"


def test_what_dies_is_started_again_and_up_is_idempotent(stack, root, local):
    killed = stack.supervisor.states()["flink-taskmanager"]["pid"]
    os.kill(killed, signal.SIGKILL)
    wait_for(lambda: stack.supervisor.states()["flink-taskmanager"]["pid"] not in (0, killed))
    untouched = {name: info["pid"] for name, info in stack.supervisor.states().items()}
    stack.up(extra=(traffic_service(local),))
    assert {name: info["pid"] for name, info in stack.supervisor.states().items()} == untouched
    # Their restarts are told for ten minutes.
    wait_for(lambda: all(row.state == "RUNNING" and row.consumer_lag is not None for row in status(root, *JOBS)), 180)


def test_a_sweep_redeploys_the_one_job_that_differs(airflow, root):
    file = root / "deployments" / "local.yaml"
    # A sweep leaves alone what it can't look at, or sees failed for the first time.
    wait_for(lambda: {row.verdict for row in status(root, *JOBS)} <= {"healthy", "degraded", "idle"}, 180)
    before = {row.job: row for row in status(root, *JOBS)}
    text = file.read_text()
    file.write_text(
        text.replace("  event_metrics:\n", "  event_metrics:\n    config: {event_types: [page_view, click]}\n")
    )
    run, tasks = run_dag(airflow, "redeploy_and_verify")
    assert run["state"] == "success", tasks
    after = {row.job: row for row in status(root, *JOBS)}
    changed = {job for job in JOBS if after[job].flink_job_id != before[job].flink_job_id}
    assert changed == {"event_metrics"}
    assert after["event_metrics"].drift is False
    newest = Project(Settings(root=root)).ledger.operations("event_metrics")[0]
    assert newest.note.startswith("redeploy_and_verify: event_metrics: redeploy: it differs from release")
    assert newest.restored_from == newest.savepoint


def test_a_sweep_brings_every_job_back_after_the_whole_cluster_was_killed(airflow, stack, root, local):
    suspended, _ = deploy(airflow, "processing_metrics", operation="suspend", reason="rests")
    assert suspended["state"] == "success"
    assert status(root, "processing_metrics")[0].state == "suspended"
    before = {row.job: row for row in status(root, *JOBS)}
    killed = {name: info["pid"] for name, info in stack.supervisor.states().items() if name.startswith("flink-")}
    for pid in killed.values():
        os.killpg(os.getpgid(pid), signal.SIGKILL)
    wait_for(lambda: all(stack.supervisor.states()[name]["pid"] not in (0, pid) for name, pid in killed.items()))
    wait_for(lambda: slots(local.flink_url))
    run, tasks = run_dag(airflow, "redeploy_and_verify", timeout=400)
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
