"""A plan that loses state waits for a person in Airflow: approved, rejected, timed out, and what goes on meanwhile."""

import time
from contextlib import contextmanager

import pytest

from sluice.project import Project
from sluice.settings import Settings
from tests.e2e.running import await_dag, await_task, ended, get, run_dag, states_of, status, tasks_of, trigger
from tests.support.waiting import wait_for

JOB = "processing_metrics"
IMPATIENT = """
from datetime import timedelta
from airflow.sdk import DAG
from sluice.airflow.deploy_tasks import deploy_group

with DAG("impatient", schedule=None):
    deploy_group(
        "processing_metrics", group_id="deploy", config={"metrics_window_minutes": 30}, patience=timedelta(seconds=20)
    )
"""

pytestmark = pytest.mark.usefixtures("main_job")


@pytest.fixture
def ledger(root):
    return Project(Settings(root=root)).ledger


def ask(airflow, minutes, **conf):
    """A run of the deploy DAG that waits for an approval; its path."""
    path = trigger(airflow, f"deploy.{JOB}", config_metrics_window_minutes=minutes, **conf)
    await_task(airflow, path, "approve", "awaiting_input")
    return path


def answer(airflow, path, option):
    """Answer as a person would, who reads first; what came of it.

    Airflow loses an answer that comes within a second of its asking, fails that try, and asks again, twice at the most.
    """
    time.sleep(5)
    response = airflow.patch(f"{path}/taskInstances/approve/-1/hitlDetails", json={"chosen_options": [option]})
    given = response.raise_for_status().json()
    asked = tasks_of(airflow, path)["approve"]["try_number"]

    def taken():
        task = tasks_of(airflow, path)["approve"]
        is_asked_again = task["state"] == "awaiting_input" and task["try_number"] > asked
        return is_asked_again or task["state"] in ("success", "failed")

    wait_for(taken, watched=lambda: states_of(airflow, path))
    if tasks_of(airflow, path)["approve"]["state"] == "awaiting_input":
        return answer(airflow, path, option)
    return given


def clear(airflow, path, task):
    """Clear a task and what comes after it."""
    order = {"dag_run_id": path.rpartition("/")[2], "task_ids": [task], "include_downstream": True}
    order |= {"dry_run": False, "only_failed": False}
    airflow.post(f"/dags/deploy.{JOB}/clearTaskInstances", json=order).raise_for_status()


@contextmanager
def deployment(root, line):
    """The deployment file with one more line of the job's."""
    file = root / "deployments" / "local.yaml"
    text = file.read_text()
    file.write_text(text.replace(f"  {JOB}:\n", f"  {JOB}:\n    {line}\n"))
    try:
        yield
    finally:
        file.write_text(text)


def log_of(airflow, path, task):
    tries = tasks_of(airflow, path)[task]["try_number"]
    return airflow.get(f"{path}/taskInstances/{task}/logs/{tries}").text


def test_an_approved_plan_runs_and_the_ledger_says_who_approved_it(airflow, root, ledger):
    before = status(root, JOB)[0]
    path = ask(airflow, 10, reason="coarser is enough")
    # Nothing is held while it waits.
    assert get(airflow, "/pools/default_pool")["occupied_slots"] == 0
    assert ledger.active(JOB) is None
    detail = get(airflow, f"{path}/taskInstances/approve/-1/hitlDetails")
    assert detail["options"] == ["Approve", "Reject"]
    assert detail["subject"] == f"{JOB}: deploy that loses state"
    assert "| config.metrics_window_minutes | " in detail["body"]
    assert "**lost**" in detail["body"]
    assert "coarser is enough" in detail["body"]
    assert status(root, JOB)[0].flink_job_id == before.flink_job_id

    user = answer(airflow, path, "Approve")["responded_by"]
    assert ended(airflow, path)["state"] == "success", {
        name: (task["state"], task["try_number"]) for name, task in tasks_of(airflow, path).items()
    }
    after = status(root, JOB)[0]
    assert (after.state, after.release) == ("RUNNING", before.release + 1)
    newest, asked = ledger.operations(JOB)[0], ledger.approvals.of(JOB)[0]
    assert (newest.outcome, newest.mode) == ("healthy", "stateless")
    assert user["name"] in newest.approved_by
    assert (asked.answer, asked.answered_by, asked.answered_at) == ("approved", newest.approved_by, newest.approved_at)
    assert asked.answered_at < newest.started_at


def test_a_rejected_plan_touches_nothing_and_what_comes_meanwhile_is_not_kept_waiting(airflow, root, ledger):
    before, operations = status(root, JOB)[0], len(ledger.operations(JOB))
    path = ask(airflow, 20)
    # Another deploy, which loses nothing, goes through; one that does has to let the first one be answered.
    run, tasks = run_dag(airflow, f"deploy.{JOB}")
    assert (run["state"], tasks["approve"]["state"]) == ("success", "skipped")
    run, tasks = run_dag(airflow, f"deploy.{JOB}", config_metrics_window_minutes=25)
    assert (run["state"], tasks["approve"]["state"], tasks["create_topics"]["state"]) == (
        "failed",
        "failed",
        "upstream_failed",
    )
    second = f"/dags/deploy.{JOB}/dagRuns/{run['dag_run_id']}"
    assert "another plan of this job has been waiting for approval since" in log_of(airflow, second, "approve")

    user = answer(airflow, path, "Reject")["responded_by"]
    assert ended(airflow, path)["state"] == "failed"
    tasks = tasks_of(airflow, path)
    assert (tasks["approve"]["state"], tasks["approve"]["try_number"]) == ("failed", 1)
    assert tasks["roll_back"]["state"] == "skipped"
    assert "has rejected the plan; nothing was touched" in log_of(airflow, path, "approve")
    assert status(root, JOB)[0].flink_job_id == before.flink_job_id
    assert len(ledger.operations(JOB)) == operations + 1  # the one that changed nothing
    asked = ledger.approvals.of(JOB)[0]
    assert asked.answer == "rejected"
    assert user["name"] in asked.answered_by


def test_without_an_answer_in_time_it_is_refused(airflow, root, ledger):
    """In a DAG of one's own, with the same tasks as a group."""
    before = status(root, JOB)[0]
    (root / "dags" / "impatient.py").write_text(IMPATIENT)
    await_dag(airflow, "impatient")
    run, tasks = run_dag(airflow, "impatient")
    assert (run["state"], tasks["deploy.approve"]["state"], tasks["deploy.approve"]["try_number"]) == (
        "failed",
        "failed",
        1,
    )
    path = f"/dags/impatient/dagRuns/{run['dag_run_id']}"
    assert "nobody has approved the plan in time; nothing was touched" in log_of(airflow, path, "deploy.approve")
    assert tasks["deploy.settle"]["state"] == "upstream_failed"
    assert status(root, JOB)[0].flink_job_id == before.flink_job_id
    asked = ledger.approvals.of(JOB)[0]
    assert (asked.answer, asked.answered_by) == ("timed_out", None)


def test_an_approval_of_other_files_than_those_of_now_is_worth_nothing(airflow, root, ledger):
    before = status(root, JOB)[0]
    path = ask(airflow, 40)
    with deployment(root, "parallelism: 2"):
        answer(airflow, path, "Approve")
        assert ended(airflow, path)["state"] == "failed"
    assert "have changed since the plan was made" in log_of(airflow, path, "switch_over")
    assert status(root, JOB)[0].flink_job_id == before.flink_job_id


def test_a_run_that_is_cleared_and_plans_something_else_does_not_ask_about_it(airflow, root, ledger):
    """Airflow would go on showing the plan that it has asked about before."""
    before = status(root, JOB)[0]
    path = ask(airflow, 45)
    hitl = f"{path}/taskInstances/approve/-1/hitlDetails"
    shown = get(airflow, hitl)["body"]
    with deployment(root, "parallelism: 2"):
        clear(airflow, path, "plan")
        assert ended(airflow, path)["state"] == "failed"
    assert "this run has asked about another plan before" in log_of(airflow, path, "approve")
    assert get(airflow, hitl)["body"] == shown
    assert ledger.approvals.of(JOB)[0].answer == "withdrawn"
    assert status(root, JOB)[0].flink_job_id == before.flink_job_id


@pytest.mark.parametrize("deleted", [False, True], ids=["marked as failed", "deleted"])
def test_a_run_that_was_given_up_while_it_waited_hinders_nobody(airflow, ledger, deleted):
    path = ask(airflow, 50)
    # Airflow deletes no run that goes on.
    airflow.patch(path, json={"state": "failed"}).raise_for_status()
    if deleted:
        airflow.delete(path).raise_for_status()
    second = ask(airflow, 50)
    assert [row.answer for row in ledger.approvals.of(JOB)[:2]] == [None, "withdrawn"]
    answer(airflow, second, "Reject")
    assert ended(airflow, second)["state"] == "failed"


def test_a_task_that_is_cleared_asks_anew(airflow, ledger):
    path = ask(airflow, 55)

    def clear_and_wait():
        former = tasks_of(airflow, path)["approve"]["try_number"]
        clear(airflow, path, "approve")
        wait_for(
            lambda: (
                (task := tasks_of(airflow, path)["approve"])["state"] == "awaiting_input"
                and task["try_number"] > former
            )
        )

    clear_and_wait()
    # It goes on with what it had asked.
    assert [row.answer for row in ledger.approvals.of(JOB)[:1]] == [None]
    answer(airflow, path, "Reject")
    assert ended(airflow, path)["state"] == "failed"
    clear_and_wait()
    assert [row.answer for row in ledger.approvals.of(JOB)[:2]] == [None, "rejected"]
    answer(airflow, path, "Reject")
    assert ended(airflow, path)["state"] == "failed"


def test_a_sweep_asks_once_for_what_loses_state(airflow, root, ledger):
    dag = f"deploy.{JOB}"
    # Approved ahead, and by whom is recorded as well.
    run, tasks = run_dag(airflow, dag, config_metrics_window_minutes=12, allow_state_loss=True)
    assert (run["state"], tasks["approve"]["state"]) == ("success", "skipped")
    assert ledger.operations(JOB)[0].approved_by
    # What a run has given lies over the file.
    run, _ = run_dag(airflow, dag, clear_overrides=True, allow_state_loss=True)
    assert run["state"] == "success"
    with deployment(root, "config: {metrics_window_minutes: 7}"):
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
