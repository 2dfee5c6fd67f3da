"""Another operation changes the job, or the cluster recovers it, after this operation has planned."""

from contextlib import nullcontext

import pytest

from sluice.errors import ChangedError
from sluice.operation import run, savepoint
from sluice.plan.request import DeployRequest
from tests.simulator.cluster import Died
from tests.simulator.simulated import JOB
from tests.support.windowed import source


@pytest.fixture
def run_operation(simulated):
    """Runs a whole operation, as the shell does."""

    def operate(holder, *, approved=False, **request):
        return run.run_operation(
            simulated.project,
            JOB,
            DeployRequest(**request, allow_state_loss=approved),
            holder,
            print,
        )

    return operate


@pytest.fixture
def first(simulated):
    """The running job, which has state."""
    started = simulated.deploy()
    simulated.cluster.checkpoint(started.flink_job_id)
    return started


def test_second_of_two_concurrent_first_deploys_changes_nothing(simulated, run_operation):
    simulated.compiler.during_compile = lambda: run_operation("other")
    assert run_operation("me").outcome == "unchanged"
    assert simulated.cluster.running_jobs() == [simulated.place.flink_job_id]


def test_second_of_two_concurrent_recoveries_changes_nothing(simulated, run_operation, first):
    simulated.cluster.states.clear()
    simulated.compiler.during_compile = lambda: run_operation("other")
    assert run_operation("me").outcome == "unchanged"
    assert simulated.cluster.running_jobs() == [simulated.place.flink_job_id]


def test_job_that_was_suspended_after_planning_is_not_started(simulated, run_operation, first):
    simulated.compiler.during_compile = lambda: run_operation("other", kind="suspend")
    result = run_operation("me", overrides={"least": 1})
    assert "counts is suspended since" in str(result.error)
    assert (result.error.exit_status, simulated.cluster.running_jobs(), simulated.place.phase) == (2, [], "suspended")


def test_deploy_is_refused_if_the_second_plan_needs_an_approval(simulated, run_operation, first):
    """Windows of one hour would be given the state of windows of two hours."""

    def redeploy():
        other = run_operation("other", approved=True, overrides={"hours": 2})
        simulated.cluster.checkpoint(other.flink_job_id)

    simulated.compiler.during_compile = redeploy
    result = run_operation("me", overrides={"hours": 1, "least": 1})
    assert "state would be abandoned: config.hours" in str(result.error)
    assert simulated.cluster.running_jobs() == [simulated.place.flink_job_id]
    assert simulated.place.release == 2


def test_deploy_is_refused_if_the_job_changes_after_both_plans(simulated, run_operation, first):
    def redeploy(*others):
        simulated.deploy(holder="other", overrides={"least": others[0]})
        if others[1:]:
            simulated.compiler.during_compile = lambda: redeploy(*others[1:])

    simulated.compiler.during_compile = lambda: redeploy(3, 4)
    result = run_operation("me", overrides={"least": 1})
    assert "counts: another operation has changed the job since this one was planned; then: release 2 running" in str(
        result.error
    )
    assert (result.error.exit_status, simulated.place.release) == (2, 3)
    assert simulated.ledger.active(JOB) is None


@pytest.mark.parametrize("crashes", [True, False])
def test_earlier_attempt_starts_no_job_beside_that_of_a_later_attempt(simulated, first, crashes):
    """Both attempts are of one holder; or the later one crashed as soon as the cluster had the job."""
    simulated.cluster.states.clear()
    planned, compiler = simulated.plan(), simulated.compiler
    simulated.cluster.dies_at_submit = "after" if crashes else None
    with pytest.raises(Died) if crashes else nullcontext():
        simulated.operate("crashed" if crashes else "me")
    simulated.cluster.dies_at_submit, simulated.compiler = None, compiler
    operation = simulated.ledger.active(JOB)
    with pytest.raises(ChangedError):
        simulated.switch_over(planned)
    assert simulated.cluster.running_jobs() == [simulated.place.flink_job_id]
    # The lock is still that of the later attempt.
    assert simulated.ledger.active(JOB).token == operation.token


def test_release_is_not_recorded_for_a_job_that_was_replaced_after_planning(simulated, first):
    simulated.rewrite(source(JOB) + "\nX = 1\n")
    planned, compiler = simulated.plan(), simulated.compiler
    assert planned.plan.action == "record"
    simulated.rewrite(source(JOB))
    other = simulated.deploy(holder="other", overrides={"least": 3})
    simulated.compiler = compiler
    with pytest.raises(ChangedError):
        simulated.switch_over(planned)
    assert simulated.place.release == other.release
    assert [release.number for release in simulated.ledger.releases(JOB)] == [2, 1]


@pytest.mark.parametrize("request_", [{}, {"kind": "suspend"}])
def test_job_that_was_started_after_planning_is_neither_verified_nor_stopped(simulated, first, request_):
    planned = simulated.plan(**request_)
    other = simulated.operate("other", overrides={"least": 3})
    simulated.ledger.resume(other.operation).finish("failed")
    with pytest.raises(ChangedError):
        simulated.switch_over(planned)
    assert simulated.cluster.running_jobs() == [other.flink_job_id]
    assert simulated.ledger.release(JOB, other.release).healthy_at is None


def test_savepoint_is_not_taken_of_a_job_that_was_started_after_the_check(simulated, first):
    # The savepoint's directory is read after the check.
    simulated.cluster.at_request(
        "GET /jobmanager/config", lambda: simulated.deploy(holder="other", overrides={"least": 3})
    )
    with pytest.raises(ChangedError):
        savepoint.order_savepoint(simulated.project, JOB, "me", simulated.flink)
    assert simulated.ledger.active(JOB) is None


def test_job_that_the_cluster_recovers_after_planning_is_not_started_again(simulated, run_operation, first):
    """A JobManager with high availability recovers its jobs some seconds after it answers again."""
    simulated.cluster.states.clear()

    def recover():
        simulated.cluster.states[first.flink_job_id] = "RUNNING"

    simulated.compiler.during_compile = recover
    assert run_operation("me").outcome == "unchanged"
    assert simulated.cluster.running_jobs() == [first.flink_job_id]


def test_job_whose_submission_got_no_answer_is_adopted_once_it_is_listed(simulated, first):
    """The answer was lost, and the cluster lists the job late."""
    simulated.cluster.states.clear()
    simulated.cluster.dies_at_submit = "before"
    with pytest.raises(Died):
        simulated.operate("me")
    simulated.cluster.dies_at_submit, submitted = None, simulated.place

    def list_job():
        simulated.cluster.states[submitted.flink_job_id] = "RUNNING"
        simulated.cluster.checkpoint(submitted.flink_job_id)

    simulated.compiler.during_compile = list_job
    started = simulated.operate("me")
    assert (started.flink_job_id, simulated.cluster.running_jobs()) == (
        submitted.flink_job_id,
        [submitted.flink_job_id],
    )
    assert started.restored_from == submitted.restored_from
    assert simulated.cluster.submissions[1:] == []
