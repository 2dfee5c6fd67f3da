"""A plan that loses state waits for an approval in Airflow: approved, rejected, timed out, or its run ended."""

import pytest

from tests.e2e.approving import JOB, answer, ask, clear, log_of
from tests.e2e.running import await_task, ended, get, pool, run_dag, status, tasks_of, trigger
from tests.support.sharing import deployment_line
from tests.support.waiting import wait_for

pytestmark = pytest.mark.usefixtures("main_job")


def test_approved_plan_runs_and_its_approver_is_recorded(airflow, root, ledger):
    before = status(root, JOB)[0]
    path = ask(airflow, 10, reason="coarser is enough")
    # Nothing is held while it waits; a slot of a pool neither, as `impatient` shows.
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


def test_rejected_plan_changes_nothing_and_other_deploys_are_not_blocked(airflow, root, ledger):
    before, operations = status(root, JOB)[0], len(ledger.operations(JOB))
    path = ask(airflow, 20)
    # Another deploy, which loses nothing, goes through; one that does has to let the first one be answered.
    run, tasks = run_dag(airflow, f"deploy.{JOB}")
    assert (run["state"], tasks["approve"]["state"]) == ("success", "skipped")
    run, tasks = run_dag(airflow, f"deploy.{JOB}", config_metrics_window_minutes=25)
    assert (run["state"], tasks["approve"]["state"], tasks["package"]["state"]) == (
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
    assert "has rejected the plan; the job was not changed" in log_of(airflow, path, "approve")
    assert status(root, JOB)[0].flink_job_id == before.flink_job_id
    # A run that changes nothing begins no operation.
    assert len(ledger.operations(JOB)) == operations
    asked = ledger.approvals.of(JOB)[0]
    assert asked.answer == "rejected"
    assert user["name"] in asked.answered_by


def test_plan_without_an_answer_in_time_is_refused(airflow, root, ledger):
    """In a DAG of one's own, with the same tasks as a group."""
    before = status(root, JOB)[0]
    pool(airflow, "impatient", 1)
    path = trigger(airflow, "impatient")
    await_task(airflow, path, "deploy.approve", "awaiting_input")
    # Nothing is held while it waits.
    held = get(airflow, "/pools/impatient")
    assert (held["occupied_slots"], held["open_slots"]) == (0, 1)
    run, tasks = ended(airflow, path), tasks_of(airflow, path)
    assert (run["state"], tasks["deploy.approve"]["state"], tasks["deploy.approve"]["try_number"]) == (
        "failed",
        "failed",
        1,
    )
    assert "the plan was not approved in time; the job was not changed" in log_of(airflow, path, "deploy.approve")
    assert tasks["deploy.settle"]["state"] == "upstream_failed"
    assert status(root, JOB)[0].flink_job_id == before.flink_job_id
    asked = ledger.approvals.of(JOB)[0]
    assert (asked.answer, asked.answered_by) == ("timed_out", None)


def test_approval_is_invalid_after_the_files_have_changed(airflow, root, ledger):
    before = status(root, JOB)[0]
    path = ask(airflow, 40)
    with deployment_line(root, JOB, "parallelism: 2"):
        answer(airflow, path, "Approve")
        assert ended(airflow, path)["state"] == "failed"
    assert "have changed since the plan was made" in log_of(airflow, path, "switch_over")
    assert status(root, JOB)[0].flink_job_id == before.flink_job_id


def test_cleared_run_with_another_plan_fails_instead_of_asking(airflow, root, ledger):
    """Airflow would go on showing the plan that it has asked about before."""
    before = status(root, JOB)[0]
    path = ask(airflow, 45)
    hitl = f"{path}/taskInstances/approve/-1/hitlDetails"
    shown = get(airflow, hitl)["body"]
    with deployment_line(root, JOB, "parallelism: 2"):
        clear(airflow, path, "plan")
        assert ended(airflow, path)["state"] == "failed"
    assert "this run's request for the approval of another plan" in log_of(airflow, path, "approve")
    assert get(airflow, hitl)["body"] == shown
    assert ledger.approvals.of(JOB)[0].answer == "withdrawn"
    assert status(root, JOB)[0].flink_job_id == before.flink_job_id


@pytest.mark.parametrize("deleted", [False, True], ids=["marked as failed", "deleted"])
def test_failed_or_deleted_run_that_waited_for_approval_blocks_no_other(airflow, ledger, deleted):
    path = ask(airflow, 50)
    # Airflow deletes no run that goes on.
    airflow.patch(path, json={"state": "failed"}).raise_for_status()
    if deleted:
        airflow.delete(path).raise_for_status()
    second = ask(airflow, 50)
    assert [row.answer for row in ledger.approvals.of(JOB)[:2]] == [None, "withdrawn"]
    answer(airflow, second, "Reject")
    assert ended(airflow, second)["state"] == "failed"


def test_cleared_approve_task_asks_again(airflow, ledger):
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


def test_plan_approved_in_advance_is_not_asked_about(airflow, ledger):
    run, tasks = run_dag(airflow, f"deploy.{JOB}", config_metrics_window_minutes=12, allow_state_loss=True)
    assert (run["state"], tasks["approve"]["state"]) == ("success", "skipped")
    # By whom is recorded as well.
    assert ledger.operations(JOB)[0].approved_by
