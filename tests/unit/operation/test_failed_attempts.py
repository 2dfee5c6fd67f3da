"""Attempts that failed before taking the lock count for the retry limits."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice.fleet.decision import decide
from sluice.fleet.needs import read_decision_inputs
from sluice.fleet.rows import JobStatus
from sluice.operation.failed_attempts import record_unbegun, record_unless_begun
from sluice.plan.request import DeployRequest
from tests.simulator.simulated import JOB


def decision(simulated, after, drift=False, state="gone", verdict="failed"):
    """The decision of a sweep so many minutes later; by default, Flink doesn't know the job."""
    place = simulated.place
    row = JobStatus(
        JOB, state, place.release, place.flink_job_id, verdict=verdict, drift=drift, phase=place.phase, reasons=("x",)
    )
    [case] = read_decision_inputs(simulated.project, [row], datetime.now(UTC) + timedelta(minutes=after))
    return decide(case)


@pytest.mark.parametrize("drift", [False, True])
def test_recovery_that_can_not_be_planned_backs_off_and_is_then_given_up(simulated, drift):
    simulated.deploy()
    request = DeployRequest(kind="rollback", target_release=1, expected_release=1) if drift else DeployRequest()
    assert decision(simulated, 0, drift).need == "recover"
    record_unbegun(simulated.project, JOB, request, "airflow:deploy/1", "its state is missing")
    assert decision(simulated, 1, drift).need == "nothing"
    assert decision(simulated, 1, drift).why.endswith("after 1 of 6 tries: its state is missing")
    assert decision(simulated, 3, drift).need == "recover"
    for _ in range(5):
        record_unbegun(simulated.project, JOB, request, "airflow:deploy/1", "its state is missing")
    assert decision(simulated, 100, drift).need == "report"
    # The job isn't locked: a person can deploy it.
    assert simulated.ledger.active(JOB) is None


def test_attempts_at_another_release_do_not_count_for_the_recovery(simulated):
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    # A rollback to release 1, and a deploy of the desired state, which is no release yet.
    record_unbegun(
        simulated.project, JOB, DeployRequest(kind="rollback", expected_release=2), "me", "the rollback failed"
    )
    simulated.rewrite((simulated.project.settings.root / "flink_jobs" / f"{JOB}.py").read_text() + "\nMORE = 1\n")
    record_unbegun(simulated.project, JOB, DeployRequest(), "me", "it does not compile")
    [second, first, *_] = simulated.ledger.operations(JOB)
    assert (first.kind, first.release, first.outcome, first.reason) == ("rollback", 1, "failed", "the rollback failed")
    assert (second.kind, second.release, second.outcome, second.reason) == (
        "deploy",
        3,
        "failed",
        "it does not compile",
    )
    assert decision(simulated, 1, drift=True).need == "recover"


def test_redeploy_that_fails_before_its_release_is_added_is_given_up(simulated):
    """For example because a topic differs."""
    simulated.deploy()
    file = simulated.project.settings.root / "flink_jobs" / f"{JOB}.py"
    simulated.rewrite(file.read_text() + "\nMORE = 1\n")
    runs = {"drift": True, "state": "RUNNING", "verdict": "healthy"}
    assert decision(simulated, 0, **runs).need == "redeploy"
    record_unbegun(simulated.project, JOB, DeployRequest(), "airflow:deploy/1", "the topic differs")
    assert decision(simulated, 1, **runs).why.endswith("after 1 of 6 tries: the topic differs")
    for _ in range(5):
        record_unbegun(simulated.project, JOB, DeployRequest(), "airflow:deploy/1", "the topic differs")
    given_up = decision(simulated, 100, **runs)
    assert (given_up.need, given_up.cause.startswith("given up: redeploy")) == ("report", True)
    # If Flink lost the job, its release would be started again.
    assert decision(simulated, 100, drift=True).need == "recover"
    # A new desired state is tried, whatever its release number.
    simulated.rewrite(file.read_text() + "\nMORE = 2\n")
    assert decision(simulated, 100, **runs).need == "redeploy"
    simulated.deploy()
    simulated.rewrite(file.read_text() + "\nMORE = 3\n")
    assert decision(simulated, 100, **runs).need == "redeploy"


def test_failed_run_is_recorded_unless_an_operation_accounts_for_it(simulated):
    simulated.deploy()
    [deployed] = simulated.ledger.operations(JOB)
    attempt = (simulated.project, JOB, DeployRequest(), "airflow:deploy/1", "its run has failed")
    # An operation has ended since the sweep: it may be this run's, or have blocked it.
    record_unless_begun(*attempt, deployed.ended_at)
    assert len(simulated.ledger.operations(JOB)) == 1
    since = datetime.now(UTC)
    record_unless_begun(*attempt, since)
    assert decision(simulated, 1).why.endswith("after 1 of 6 tries: its run has failed")
    # The attempt is recorded already.
    record_unless_begun(*attempt, since)
    assert len(simulated.ledger.operations(JOB)) == 2
    simulated.ledger.begin(JOB, kind="deploy", holder="me", release=1)
    record_unless_begun(*attempt, datetime.now(UTC))
    assert len(simulated.ledger.operations(JOB)) == 3


def test_failed_attempt_is_not_recorded_for_a_job_that_never_ran(simulated):
    record_unbegun(simulated.project, JOB, DeployRequest(), "me", "no")
    assert simulated.ledger.operations(JOB) == []
