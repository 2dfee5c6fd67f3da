"""Operators and task groups in users' DAGs, as documented, on a real job."""

import time
from datetime import timedelta

import pytest

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.project import Project
from sluice.settings import Settings
from tests.e2e.running import (
    api,
    await_dag,
    await_task,
    ended,
    get,
    pool,
    run_dag,
    states_of,
    status,
    tasks_of,
    trigger,
)
from tests.support.pages import examples
from tests.support.sharing import deployment_line
from tests.support.stacks import ROOT
from tests.support.waiting import wait_for

JOB = "event_metrics"

pytestmark = pytest.mark.usefixtures("main_job")


@pytest.fixture
def pages(airflow, root):
    """The DAGs of the page; the stack has had them from its start, but for the one that runs by its schedule."""
    shown = examples(ROOT / "docs" / "in-dags-of-your-own.md")
    if not (file := root / "dags" / "nightly.py").exists():
        file.write_text(shown["nightly.py"])
    for name in shown:
        await_dag(airflow, name.removesuffix(".py"))


def returned(airflow, run, task):
    path = f"/dags/{run['dag_id']}/dagRuns/{run['dag_run_id']}/taskInstances/{task}/xcomEntries/return_value"
    return get(airflow, path, deserialize=True)["value"]


def test_own_dag_suspends_a_job_during_a_migration(airflow, root, ledger, pages):
    before = status(root, JOB)[0]
    run, tasks = run_dag(airflow, "migrate")
    assert run["state"] == "success", tasks
    # On a busy machine Airflow may lose a task, which is tried again: nothing is done twice for that.
    resume, suspend, keep = ledger.operations(JOB, 3)
    assert [(row.kind, row.outcome) for row in (keep, suspend, resume)] == [
        ("savepoint", "taken"),
        ("suspend", "suspended"),
        ("resume", "healthy"),
    ]
    assert (keep.note, keep.flink_job_id) == ("before the migration", before.flink_job_id)
    assert returned(airflow, run, "keep")["savepoint"] == keep.savepoint
    # From the state that it was stopped with, which is newer than what was kept.
    assert resume.restored_from == suspend.savepoint != keep.savepoint
    row = returned(airflow, run, "resume")
    after = status(root, JOB)[0]
    assert (after.state, after.release) == ("RUNNING", before.release)
    assert (row["outcome"], row["flink_job_id"]) == ("healthy", after.flink_job_id)


@pytest.fixture(scope="module")
def two_runs(local):
    """A run of the page's `campaign`, and one of the job's own DAG that begins while the first one works."""
    ledger = Project(Settings(root=local.root)).ledger
    with api(local) as airflow:
        first = trigger(airflow, "campaign")
        wait_for(lambda: ledger.active(JOB))
        second = trigger(airflow, f"deploy.{JOB}", clear_overrides=True)
        ended(airflow, second)
    return first, second


def test_deploy_group_finishes_before_its_downstream_task_starts(airflow, ledger, two_runs):
    tasks = tasks_of(airflow, two_runs[0])
    assert get(airflow, two_runs[0])["state"] == "success", tasks
    assert tasks["deploy_event_metrics.roll_back"]["state"] == "skipped"
    assert tasks["announce"]["state"] == "success"
    assert tasks["announce"]["start_date"] >= tasks["deploy_event_metrics.settle"]["end_date"]
    deployed = ledger.operations(JOB, 2)[1]
    assert (deployed.outcome, deployed.note) == ("healthy", "campaign")
    assert ledger.release(JOB, deployed.release).overrides == {"event_types": ["page_view", "click"]}


def test_two_runs_on_one_job_wait_for_each_other(airflow, root, ledger, two_runs):
    """One of the group, one of the job's own DAG: neither fails, and no operation is taken from the other."""
    assert [get(airflow, path)["state"] for path in two_runs] == ["success", "success"]
    assert [row.outcome for row in ledger.operations(JOB, 2)] == ["healthy", "healthy"]
    second, former = ledger.operations(JOB, 2)
    assert former.ended_at <= second.started_at
    assert status(root, JOB)[0].overrides == {}


def test_task_and_group_replay_the_same_range_equally(airflow, root, ledger):
    now = time.time()
    start, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - ago)) for ago in (150, 30))
    run, tasks = run_dag(airflow, "one_range", start=start, end=end)
    assert run["state"] == "success", tasks
    of_group, of_task = ledger.replays.of(JOB, 2)
    assert [(row.outcome, len(row.plan["chunks"])) for row in (of_group, of_task)] == [("completed", 2)] * 2
    assert of_task.records == of_group.records > 0
    assert returned(airflow, run, "one")["chunks"] == returned(airflow, run, "backfill_event_metrics.report")["chunks"]


def test_failed_chunk_is_rerun_alone(airflow, ledger):
    now = time.time()
    start, end = (time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now - ago)) for ago in (150, 30))
    path = trigger(airflow, f"backfill.{JOB}", start=start, end=end, chunk="60s", accept_missing=True)

    def states():
        found = get(airflow, f"{path}/taskInstances")["task_instances"]
        return [task["state"] for task in found if task["task_id"] == "replay"]

    def chunks():
        return [row.state for row in ledger.replays.chunks(ledger.replays.of(JOB, 1)[0].id)]

    def both_wait():
        # One of them waits for its turn: one runs at a time.
        return states() == ["deferred"] * 2 and "waiting" in chunks()

    wait_for(both_wait, watched=lambda: states_of(airflow, path))
    waits = chunks().index("waiting")
    failed = airflow.patch(f"{path}/taskInstances/replay/{waits}", json={"new_state": "failed"})
    failed.raise_for_status()
    run = ended(airflow, path)
    replay = ledger.replays.of(JOB, 1)[0]
    assert (run["state"], replay.outcome) == ("failed", "failed")
    assert chunks() == ["waiting" if number == waits else "finished" for number in range(2)]
    again = {"dag_run_id": run["dag_run_id"], "task_ids": [["replay", waits]], "include_downstream": True}
    again |= {"dry_run": False, "only_failed": False}
    airflow.post(f"/dags/backfill.{JOB}/clearTaskInstances", json=again).raise_for_status()
    assert ended(airflow, path)["state"] == "success"
    replay = ledger.replays.find(replay.id)
    assert (replay.outcome, replay.report["rows"] > 0) == ("completed", True)
    assert [row.attempt for row in ledger.replays.chunks(replay.id)] == [1, 1]


def test_job_runs_once_after_suspend_and_resume(root, local):
    with FlinkClient(local.flink_url) as flink:
        alive = [job for job in flink.send(calls.jobs()).jobs if job.name == JOB and not job.state.is_terminal]
    assert len(alive) == 1


def test_run_marked_failed_at_a_gate_does_not_block_the_next_deploy(airflow, root, ledger):
    pool(airflow, "given_up", 1)
    # Nothing is that fresh: its windows wait for ten seconds.
    with deployment_line(root, JOB, "health: {watermark_lag: 1s}"):
        path = trigger(airflow, "given_up")
        await_task(airflow, path, "deploy", "deferred")
        assert ledger.active(JOB).holder.startswith("airflow:given_up/")
        held = get(airflow, "/pools/given_up")
        assert (held["occupied_slots"], held["open_slots"]) == (0, 1)
        airflow.patch(path, json={"state": "failed"}).raise_for_status()
    run, tasks = run_dag(airflow, f"deploy.{JOB}", clear_overrides=True)
    assert run["state"] == "success", tasks
    newest, given_up = ledger.operations(JOB, 2)
    assert (newest.outcome, given_up.outcome) == ("healthy", "abandoned")
    assert newest.started_at - given_up.started_at < timedelta(minutes=5)


def test_refused_deploy_is_not_retried(airflow, root, ledger):
    """A plan that loses state, and nobody to ask."""
    run, tasks = run_dag(airflow, "refused")
    assert (run["state"], tasks["deploy"]["try_number"]) == ("failed", 1)
    log = airflow.get(f"/dags/refused/dagRuns/{run['dag_run_id']}/taskInstances/deploy/logs/1").text
    assert "state would be abandoned" in log
    # Other workers deploy this job.
    assert [row for row in ledger.operations("performance_metrics") if row.holder.startswith("airflow:refused/")] == []
