"""Replays of a job with a bug, a rollback of a release that fails, and replays that are cancelled."""

import os
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta

import psutil
import pytest

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.traffic import oracle, wire
from sluice.local.traffic.generator import Message
from sluice.project import Project
from sluice.settings import Settings
from tests.e2e.running import await_dag, deploy, get, process_of, run_dag, states_of, status
from tests.support import counted
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("main_job")


@pytest.mark.usefixtures("own_clients")
def test_rows_of_a_buggy_release_are_replayed_and_promoted(airflow, root, local, stack):
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
        def starting():
            """The process of a chunk's task that compiles it."""
            tasks = get(airflow, "/dags/backfill.counted/dagRuns/~/taskInstances", state="running")["task_instances"]
            chunks = [task for task in tasks if task["task_id"] == "replay"]
            with suppress(psutil.NoSuchProcess):
                return next((each for each in filter(None, map(process_of, chunks)) if each.children()), None)

        wait_for(starting, pause=0.1).kill()
        waiting = "/dags/backfill.counted/dagRuns/~/taskInstances"
        wait_for(lambda: get(airflow, waiting, state="deferred")["total_entries"], pause=0.1)
        os.killpg(os.getpgid(stack.supervisor.states()["airflow-triggerer"]["pid"]), signal.SIGKILL)

    # Slow enough to be caught at it.
    more = {"accept_differences": True, "config_pause_ms": 10}
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


def test_failing_release_is_rolled_back_to_the_former_one(airflow, root):
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


def test_replay_run_marked_failed_leaves_no_flink_job(airflow, root, stack):
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


def test_airflow_backfill_replays_a_daily_interval(airflow, root):
    """The data interval is the range; of a day that Kafka never had there is nothing, and nothing is refused."""
    day = (datetime.now(UTC) - timedelta(days=2)).replace(hour=0, minute=0, second=0, microsecond=0)
    order = {"dag_id": "backfill.counted", "from_date": day.isoformat(), "to_date": day.isoformat()}

    airflow.post("/backfills", json={**order, "dag_run_conf": {}}).raise_for_status()
    runs = wait_for(
        lambda: [
            run
            for run in get(airflow, "/dags/backfill.counted/dagRuns", limit=100)["dag_runs"]
            if run["run_type"] == "backfill" and run["state"] in ("success", "failed")
        ]
    )
    assert [run["state"] for run in runs] == ["success"]
    newest = Project(Settings(root=root)).ledger.replays.of("counted")[0]
    assert (newest.plan["start"][:19], newest.records) == (day.isoformat()[:19], 0)
