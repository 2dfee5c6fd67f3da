"""`make up` and what follows, through Airflow's own API."""

import os
import signal
import textwrap
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import httpx
import psutil
import pytest

from sluice.cli.scaffold import write_job
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.main_job import traffic_service
from sluice.local.survivors import survivors
from sluice.local.traffic import oracle, wire
from sluice.local.traffic.generator import Message
from sluice.project import Project
from sluice.settings import Settings
from tests.e2e.running import await_dag, deploy, get, run_dag, states_of, status
from tests.support import counted
from tests.support.running import slots
from tests.support.stacks import ROOT
from tests.support.waiting import wait_for
from tests.support.watching import Watch

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

WAITING = """
from datetime import timedelta
from airflow.sdk import DAG
from sluice.airflow.gates import GateOperator

with DAG("waiting", schedule=None, max_active_tasks={count}):
    for number in range({count}):
        GateOperator(
            task_id=f"gate_{{number}}", job="event_metrics", gate="checkpoint", patience=timedelta(minutes=15)
        )
"""

pytestmark = pytest.mark.usefixtures("main_job")


def assert_right_rows(local, after=None):
    """Every window that is closed, and some one after that moment, has its rows, each once; so have the dead letters.

    The types of events that other tests leave out for a while are left out here.
    """
    servers, types = local.kafka_servers, ("page_view", "click")

    def closed():
        rows = [row for row in wire.rows(servers, "event_metrics") if row["event_type"] in types]
        return rows if after is None or any(row["window_start"] > after for row in rows) else None

    found, letters = wait_for(closed), wire.consume(servers, "analytics_events_dead_letters")
    read = wire.consume(servers, "analytics_events")
    messages = [Message(each.key, each.value, each.at_ms, each.partition) for each in read]
    expected = oracle.compute(messages)
    newest = max(row["window_start"] for row in found)
    want = [row for row in expected.event_metrics if row["event_type"] in types and row["window_start"] <= newest]

    def order(row):
        return row["window_start"], row["event_type"]

    assert sorted(found, key=order) == sorted(want, key=order)

    places = {id(message): (each.partition, each.offset) for message, each in zip(messages, read, strict=True)}
    malformed = {places[id(message)]: message.at_ms for message, _ in expected.malformed}
    written = [(int(letter.headers["partition"]), int(letter.headers["offset"])) for letter in letters]
    assert len(set(written)) == len(written)
    assert set(written) <= malformed.keys()
    # The newest wait for a checkpoint.
    ripe = max(message.at_ms for message in messages) - 40_000
    assert {place for place, at_ms in malformed.items() if at_ms < ripe} <= set(written)


def test_every_job_is_deployed_and_healthy(main_job, airflow):
    assert [row.job for row in main_job] == JOBS
    assert [(row.state, row.verdict, row.drift) for row in main_job] == [("RUNNING", "healthy", False)] * 5
    for job in JOBS:
        runs = get(airflow, f"/dags/deploy.{job}/dagRuns")["dag_runs"]
        assert [run["state"] for run in runs] == ["success"]


def test_the_stack_listens_on_this_machine_alone(local):
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
    xcom = get(airflow, f"{path}/plan/xcomEntries/return_value", deserialize=True)["value"]
    assert (xcom["action"], xcom["release"]) == ("none", before.release)
    # It ends after its plan task: what follows is skipped without being begun.
    assert tasks.pop("plan")["state"] == "success"
    assert {(task["state"], task["try_number"]) for task in tasks.values()} == {("skipped", 0)}


def test_a_setting_given_in_the_form_reaches_the_running_job_and_is_taken_back(airflow, root, local):
    before = status(root, "event_metrics")[0]
    run, tasks = deploy(airflow, "event_metrics", config_event_types=["page_view", "click"], reason="fewer types")
    assert run["state"] == "success"
    after = status(root, "event_metrics")[0]
    path = f"/dags/deploy.event_metrics/dagRuns/{run['dag_run_id']}/taskInstances"
    assert get(airflow, f"{path}/switch_over/links") == {
        "extra_links": {"Flink UI": f"{local.flink_url}/#/job/running/{after.flink_job_id}/overview"},
        "total_entries": 1,
    }
    # Neither costs a task: they are skipped without being begun.
    assert {tasks.pop(task)["state"] for task in ("approve", "roll_back")} == {"skipped"}
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


def test_what_airflow_has_deployed_writes_the_right_rows(local):
    """Redeployed twice meanwhile."""
    assert_right_rows(local)


def test_a_fleet_that_is_well_raises_no_alarm(root):
    minutes = float(os.environ.get("SLUICE_AUDIT_MINUTES", "0.25"))
    watch = Watch(lambda: Project(Settings(root=root)))
    time.sleep(60 * minutes)
    watch.end()
    rows = [row for _, row in watch.seen if row.job in JOBS]
    print(f"{len(rows)} looks at {len(JOBS)} jobs in {minutes:g} min: {Counter(row.verdict for row in rows)}")
    assert {row.job for row in rows} == set(JOBS)
    assert [(row.job, row.reasons) for row in rows if row.verdict != "healthy"] == []


def test_a_task_that_is_killed_while_the_job_stops_goes_on_in_its_next_try(airflow, root, local):
    ledger = Project(Settings(root=root)).ledger
    before = status(root, "performance_metrics")[0]

    def kill_the_task():
        wait_for(lambda: ledger.placement("performance_metrics").phase == "stopping", pause=0.02)
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


def test_a_new_file_alone_gives_a_deployable_job(airflow, root, local):
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
    wait_for(lambda: all(row.state == "RUNNING" and row.consumer_lag is not None for row in status(root, *JOBS)))


def test_a_dag_of_one_s_own_waits_for_a_job_as_the_page_says(airflow, root):
    page = (ROOT / "docs" / "wait-for-a-job.md").read_text()
    block = page[page.index("    # dags/hourly_report.py") : page.index("| gate |")]
    (root / "dags" / "hourly_report.py").write_text(textwrap.dedent(block))
    await_dag(airflow, "hourly_report")
    run, tasks = run_dag(airflow, "hourly_report")
    assert run["state"] == "success", tasks
    path = f"/dags/hourly_report/dagRuns/{run['dag_run_id']}/taskInstances/event_metrics_is_healthy.consumer_lag"
    reading = get(airflow, f"{path}/xcomEntries/reading", deserialize=True)["value"]
    assert (reading["gate"], reading["passed"]) == ("consumer_lag", True)
    assert reading["words"].startswith("consumer lag ")


def test_gates_that_wait_hold_no_worker_slot(airflow, root):
    count = int(os.environ.get("SLUICE_AUDIT_GATES", "4"))
    file = root / "deployments" / "local.yaml"
    before = file.read_text()
    # Nothing is that fresh, and no checkpoint grows younger while one waits.
    file.write_text(before.replace("  event_metrics:\n", "  event_metrics:\n    health: {checkpoint_age: 1ms}\n"))
    (root / "dags" / "waiting.py").write_text(WAITING.format(count=count))
    try:
        await_dag(airflow, "waiting")
        run = airflow.post("/dags/waiting/dagRuns", json={"logical_date": None}).raise_for_status().json()
        path = f"/dags/waiting/dagRuns/{run['dag_run_id']}"

        def states():
            found = get(airflow, f"{path}/taskInstances", limit=1000)["task_instances"]
            return [task["state"] for task in found]

        wait_for(lambda: states() == ["deferred"] * count, "not all gates wait", watched=states)
        pool = get(airflow, "/pools/default_pool")
        assert (pool["deferred_slots"], pool["occupied_slots"], pool["running_slots"]) == (count, 0, 0)
        assert pool["open_slots"] == pool["slots"]
        print(f"{count} gates wait, {pool['occupied_slots']} worker slots are held")
    finally:
        file.write_text(before)
        airflow.patch(path, json={"state": "failed"}).raise_for_status()


def test_what_a_bug_has_written_is_replayed_and_promoted(airflow, root, local, stack):
    """Found, mended, redeployed, replayed in chunks, promoted: read by key, the live topic is right.

    A worker is killed while it starts a chunk, and the triggerer while the chunks wait in it.
    """
    servers, file = local.kafka_servers, root / "flink_jobs" / "counted.py"

    def rows():
        return wire.rows(servers, "counted")

    file.write_text(counted.WRONG)
    for dag in ("deploy.counted", "backfill.counted"):
        await_dag(airflow, dag)
    assert deploy(airflow, "counted")[0]["state"] == "success"
    wait_for(lambda: len({row["window_start"] for row in rows()}) >= 3)
    file.write_text(counted.SOURCE)
    assert deploy(airflow, "counted")[0]["state"] == "success"
    mended = datetime.now(UTC)
    # What is wrong was closed and written before it is replayed.
    wait_for(lambda: max(row["window_start"] for row in rows()) > mended)
    now = datetime.now(UTC)
    start, end = now - timedelta(minutes=3), now - timedelta(seconds=15)
    asked = {"start": start.isoformat(), "end": end.isoformat(), "chunk": "90s", "parallel": 2, "promote": True}

    run, tasks = run_dag(airflow, "backfill.counted", **asked)
    assert (run["state"], tasks["promote"]["state"], tasks["promote"]["try_number"]) == ("failed", "failed", 1)

    def lose_worker_and_triggerer():
        clients = wait_for(lambda: [process for process in psutil.process_iter() if is_client_of(process, local)])
        clients[0].parent().kill()
        waiting = "/dags/backfill.counted/dagRuns/~/taskInstances"
        wait_for(lambda: get(airflow, waiting, state="deferred")["total_entries"])
        os.killpg(os.getpgid(stack.supervisor.states()["airflow-triggerer"]["pid"]), signal.SIGKILL)

    # Slow enough to be caught at it.
    more = {"accept_differences": True, "config_pause_ms": 3}
    run, tasks = run_dag(airflow, "backfill.counted", lose_worker_and_triggerer, **asked, **more)
    assert run["state"] == "success", tasks
    path = f"/dags/backfill.counted/dagRuns/{run['dag_run_id']}/taskInstances"
    tries = [task for task in get(airflow, path, limit=100)["task_instances"] if task["task_id"] == "replay"]
    # One was killed; on a busy machine Airflow may lose another.
    assert sum(task["try_number"] for task in tries) >= len(tries) + 1
    report = get(airflow, f"{path}/report/xcomEntries/return_value", deserialize=True)["value"]
    for task, part in zip(tries, report["chunks"], strict=True):
        of_task = {"deserialize": True, "map_index": task["map_index"]}
        told = get(airflow, f"{path}/replay/xcomEntries/progress", **of_task)["value"]
        assert told["records"] == part["records"] <= told["of"]
        assert part["attempts"] == 1
    assert report["parity"]["counted"]["differing"] > 0
    assert len(report["chunks"]) == 2

    read = wire.consume(servers, "analytics_events")
    messages = [Message(each.key, each.value, each.at_ms, each.partition) for each in read]
    window = timedelta(seconds=5)
    want = {
        key: count
        for key, count in oracle.counts(messages, 5_000).items()
        if start <= key[0] and key[0] + window <= end
    }
    found = {(row["window_start"], row["event_type"]): row["event_count"] for row in rows()}
    assert want
    assert {key: found.get(key) for key in want} == want


def test_a_release_that_fails_gives_way_to_the_former_one(airflow, root):
    before, file = status(root, "counted")[0], root / "flink_jobs" / "counted.py"
    file.write_text(counted.FAILING)
    try:
        # It groups by something else, which an approval is asked for.
        run, tasks = deploy(airflow, "counted", allow_state_loss=True)
    finally:
        file.write_text(counted.SOURCE)
    assert (run["state"], tasks["check_running"]["state"], tasks["roll_back"]["state"]) == (
        "failed",
        "failed",
        "success",
    )
    after = status(root, "counted")[0]
    assert (after.state, after.release) == ("RUNNING", before.release)
    assert after.flink_job_id != before.flink_job_id
    newest = Project(Settings(root=root)).ledger.operations("counted")[0]
    assert (newest.outcome, newest.former_release) == ("rolled_back", before.release)
    assert "NumberFormatException" in newest.reason or "cast" in newest.reason.lower()


def test_a_replay_that_is_given_up_leaves_no_flink_job(airflow, root, stack):
    """Marked failed while its chunk waits in the triggerer, and the triggerer does not come to it."""
    now = datetime.now(UTC)
    asked = {"start": (now - timedelta(minutes=3)).isoformat(), "end": (now - timedelta(minutes=1)).isoformat()}
    asked |= {"config_pause_ms": 500}
    run = airflow.post("/dags/backfill.counted/dagRuns", json={"logical_date": None, "conf": asked})
    path = f"/dags/backfill.counted/dagRuns/{run.raise_for_status().json()['dag_run_id']}"

    def chunk():
        found = get(airflow, f"{path}/taskInstances", limit=100)["task_instances"]
        return next((task["state"] for task in found if task["task_id"] == "replay"), None)

    def replayed():
        with FlinkClient(Project(Settings(root=root)).flink_url) as flink:
            cluster = flink.send(calls.jobs()).jobs
        return [job.name for job in cluster if ".replay." in job.name and not job.state.is_terminal]

    wait_for(lambda: chunk() == "deferred" and replayed(), watched=lambda: states_of(airflow, path))
    # It is nobody's job, and yet no stranger.
    assert not [row for row in status(root) if row.state == "undeclared"]
    triggerer = os.getpgid(stack.supervisor.states()["airflow-triggerer"]["pid"])
    os.killpg(triggerer, signal.SIGSTOP)
    try:
        airflow.patch(path, json={"state": "failed"}).raise_for_status()
        begun = time.monotonic()
        wait_for(lambda: not replayed())
    finally:
        os.killpg(triggerer, signal.SIGCONT)
    print(f"the Flink job of a replay that was given up ended after {time.monotonic() - begun:.1f} s")
    assert wait_for(lambda: (state := get(airflow, path)["state"]) in ("failed", "success") and state) == "failed"


def test_airflow_s_own_backfill_runs_a_day(airflow, root):
    """The data interval is the range; of a day that Kafka never had there is nothing, and nothing is refused."""
    day = (datetime.now(UTC) - timedelta(days=2)).replace(hour=0, minute=0, second=0, microsecond=0)
    order = {"dag_id": "backfill.counted", "from_date": day.isoformat(), "to_date": day.isoformat()}

    def ordered():
        answer = airflow.post("/backfills", json={**order, "dag_run_conf": {}})
        # Airflow's own database is one file here: where others write to it, it says to ask again.
        return answer.status_code != httpx.codes.SERVICE_UNAVAILABLE and answer.raise_for_status()

    wait_for(ordered)
    runs = wait_for(
        lambda: [
            run
            for run in get(airflow, "/dags/backfill.counted/dagRuns", limit=100)["dag_runs"]
            if run["run_type"] == "backfill" and run["state"] in ("success", "failed")
        ],
        120,
    )
    assert [run["state"] for run in runs] == ["success"]
    newest = Project(Settings(root=root)).ledger.replays.of("counted")[0]
    assert (newest.plan["start"][:19], newest.records) == (day.isoformat()[:19], 0)


def test_a_sweep_redeploys_the_one_job_that_differs(airflow, root):
    file = root / "deployments" / "local.yaml"
    # A sweep leaves alone what it can't look at, or sees failed for the first time.
    wait_for(lambda: {row.verdict for row in status(root, *JOBS)} <= {"healthy", "degraded", "idle"})
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
    # Other tests share the stack, and find the job as its file has it.
    file.write_text(text)
    assert deploy(airflow, "event_metrics")[0]["state"] == "success"


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
