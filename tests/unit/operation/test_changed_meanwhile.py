"""Another operation comes and goes, or the job comes back by itself, while this one compiles."""

from contextlib import nullcontext

import pytest

from sluice.errors import ChangedError
from sluice.operation import executor, run, savepoint, verify
from sluice.plan.request import DeployRequest
from tests.support.simulated import JOB, Client, Died
from tests.support.windowed import source


@pytest.fixture
def whole(simulated, monkeypatch):
    """Do an operation as the shell does."""

    async def passes(*_arguments):
        return None

    monkeypatch.setattr(run, "FlinkClient", lambda _access: nullcontext(simulated.flink))
    monkeypatch.setattr(executor, "pass_gates", passes)
    monkeypatch.setattr(verify, "thin", lambda *_arguments: None)

    def operate(holder, *, approved=False, **request):
        return run.run_operation(
            simulated.project,
            JOB,
            DeployRequest(**request, allow_state_loss=approved),
            holder,
            print,
            compiler=Client(simulated),
        )

    return operate


@pytest.fixture
def runs(simulated):
    """The job runs, with state."""
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id)
    return first


def test_of_two_first_deploys_the_second_finds_the_job_deployed(simulated, whole):
    simulated.meanwhile = lambda: whole("other")
    assert whole("me").outcome == "unchanged"
    assert simulated.alive() == [simulated.place.flink_job_id]


def test_of_two_recoveries_the_second_finds_the_job_running(simulated, whole, runs):
    simulated.states.clear()
    simulated.meanwhile = lambda: whole("other")
    assert whole("me").outcome == "unchanged"
    assert simulated.alive() == [simulated.place.flink_job_id]


def test_a_job_that_was_suspended_meanwhile_stays_so(simulated, whole, runs):
    simulated.meanwhile = lambda: whole("other", kind="suspend")
    result = whole("me", overrides={"least": 1})
    assert "counts is suspended since" in str(result.error)
    assert (result.error.exit_status, simulated.alive(), simulated.place.phase) == (2, [], "suspended")


def test_what_now_needs_an_approval_is_refused(simulated, whole, runs):
    """State of windows of two hours would be given to windows of one."""

    def redeploys():
        other = whole("other", approved=True, overrides={"hours": 2})
        simulated.checkpoint(other.flink_job_id)

    simulated.meanwhile = redeploys
    result = whole("me", overrides={"hours": 1, "least": 1})
    assert "state would be abandoned: config.hours" in str(result.error)
    assert simulated.alive() == [simulated.place.flink_job_id]
    assert simulated.place.release == 2


def test_one_that_changes_a_second_time_is_refused(simulated, whole, runs):
    def redeploys(*others):
        simulated.deploy(holder="other", overrides={"least": others[0]})
        if others[1:]:
            simulated.meanwhile = lambda: redeploys(*others[1:])

    simulated.meanwhile = lambda: redeploys(3, 4)
    result = whole("me", overrides={"least": 1})
    assert "counts: another operation has changed the job since this one was planned; then: release 2 running" in str(
        result.error
    )
    assert (result.error.exit_status, simulated.place.release) == (2, 3)
    assert simulated.ledger.active(JOB) is None


@pytest.mark.parametrize("dies", [True, False])
def test_a_first_try_that_lives_on_starts_nothing_beside_what_the_second_has_started(simulated, runs, dies):
    """Of one holder, or of one that died as soon as the cluster had the job."""
    simulated.states.clear()
    planned, compiler = simulated.plan(), simulated.compiler
    simulated.dies_at = "after" if dies else None
    with pytest.raises(Died) if dies else nullcontext():
        simulated.operate("gone" if dies else "me")
    simulated.dies_at, simulated.compiler = None, compiler
    operation = simulated.ledger.active(JOB)
    with pytest.raises(ChangedError):
        simulated.switch_over(planned)
    assert simulated.alive() == [simulated.place.flink_job_id]
    # It has taken nothing from whoever is at it.
    assert simulated.ledger.active(JOB).token == operation.token


def test_nothing_is_recorded_for_a_job_that_was_replaced(simulated, runs):
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
def test_what_was_not_seen_is_neither_proven_nor_stopped(simulated, runs, request_):
    planned = simulated.plan(**request_)
    other = simulated.operate("other", overrides={"least": 3})
    simulated.ledger.resume(other.operation).finish("failed")
    with pytest.raises(ChangedError):
        simulated.switch_over(planned)
    assert simulated.alive() == [other.flink_job_id]
    assert simulated.ledger.release(JOB, other.release).healthy_at is None


def test_neither_is_a_savepoint_taken_of_it(simulated, runs, monkeypatch):
    directories_at = savepoint.directories_at

    def slowly(*arguments):
        simulated.deploy(holder="other", overrides={"least": 3})
        return directories_at(*arguments)

    monkeypatch.setattr(savepoint, "directories_at", slowly)
    with pytest.raises(ChangedError):
        savepoint.order_savepoint(simulated.project, JOB, "me", simulated.flink)
    assert simulated.ledger.active(JOB) is None


def test_a_job_that_the_cluster_has_back_by_now_is_started_by_nobody(simulated, whole, runs):
    """A JobManager with high availability has its jobs back some seconds after it answers again."""
    simulated.states.clear()

    def comes_back():
        simulated.states[runs.flink_job_id] = "RUNNING"

    simulated.meanwhile = comes_back
    assert whole("me").outcome == "unchanged"
    assert simulated.alive() == [runs.flink_job_id]


def test_one_that_this_operation_has_submitted_itself_is_gone_on_with(simulated, runs):
    """Its answer was lost, and the cluster shows it late."""
    simulated.states.clear()
    simulated.dies_at = "before"
    with pytest.raises(Died):
        simulated.operate("me")
    simulated.dies_at, submitted = None, simulated.place

    def shows_up():
        simulated.states[submitted.flink_job_id] = "RUNNING"
        simulated.checkpoint(submitted.flink_job_id)

    simulated.meanwhile = shows_up
    started = simulated.operate("me")
    assert (started.flink_job_id, simulated.alive()) == (submitted.flink_job_id, [submitted.flink_job_id])
    assert started.restored_from == submitted.restored_from
    assert simulated.orders[1:] == []
