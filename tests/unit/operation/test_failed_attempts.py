"""A try that could not even be planned is counted as others are."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice.fleet.decision import decide
from sluice.fleet.needs import read_decision_inputs
from sluice.fleet.rows import JobStatus
from sluice.operation.failed_attempts import record_unbegun, record_unless_begun
from sluice.plan.request import DeployRequest
from tests.support.simulated import JOB


def decision(simulated, after, drift=False, state="gone", verdict="failed"):
    """What a sweep decides so many minutes later, the job being gone."""
    place = simulated.place
    row = JobStatus(
        JOB, state, place.release, place.flink_job_id, verdict=verdict, drift=drift, phase=place.phase, reasons=("x",)
    )
    [case] = read_decision_inputs(simulated.project, [row], datetime.now(UTC) + timedelta(minutes=after))
    return decide(case)


@pytest.mark.parametrize("drift", [False, True])
def test_a_recovery_that_can_not_be_planned_is_tried_less_and_less_often_and_then_given_up(simulated, drift):
    simulated.deploy()
    request = DeployRequest(kind="rollback", target_release=1, expected_release=1) if drift else DeployRequest()
    assert decision(simulated, 0, drift).need == "recover"
    record_unbegun(simulated.project, JOB, request, "airflow:deploy/1", "its state is gone")
    assert decision(simulated, 1, drift).need == "nothing"
    assert decision(simulated, 1, drift).why.endswith("after 1 of 6 tries: its state is gone")
    assert decision(simulated, 3, drift).need == "recover"
    for _ in range(5):
        record_unbegun(simulated.project, JOB, request, "airflow:deploy/1", "its state is gone")
    assert decision(simulated, 100, drift).need == "report"
    # Nobody holds the job, and whoever comes by hand finds it free.
    assert simulated.ledger.active(JOB) is None


def test_a_try_at_another_release_is_none_at_the_recovery(simulated):
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    # Back to release 1; and what is desired, which no release is yet.
    record_unbegun(simulated.project, JOB, DeployRequest(kind="rollback", expected_release=2), "me", "no way back")
    simulated.rewrite((simulated.project.settings.root / "flink_jobs" / f"{JOB}.py").read_text() + "\nMORE = 1\n")
    record_unbegun(simulated.project, JOB, DeployRequest(), "me", "it does not compile")
    [second, first, *_] = simulated.ledger.operations(JOB)
    assert (first.kind, first.release, first.outcome, first.reason) == ("rollback", 1, "failed", "no way back")
    assert (second.kind, second.release, second.outcome, second.reason) == (
        "deploy",
        3,
        "failed",
        "it does not compile",
    )
    assert decision(simulated, 1, drift=True).need == "recover"


def test_a_redeploy_of_what_is_no_release_yet_is_given_up_as_well(simulated):
    """Its topics differ, say: it comes to nothing before its release is entered."""
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
    # Were the job gone meanwhile, it would come back as it was.
    assert decision(simulated, 100, drift=True).need == "recover"
    # Something else is desired: that is tried, whatever number it gets.
    simulated.rewrite(file.read_text() + "\nMORE = 2\n")
    assert decision(simulated, 100, **runs).need == "redeploy"
    simulated.deploy()
    simulated.rewrite(file.read_text() + "\nMORE = 3\n")
    assert decision(simulated, 100, **runs).need == "redeploy"


def test_a_run_that_was_ended_by_whatever_is_counted_where_nothing_tells_what_came_of_it(simulated):
    simulated.deploy()
    [deployed] = simulated.ledger.operations(JOB)
    try_ = (simulated.project, JOB, DeployRequest(), "airflow:deploy/1", "its run has failed")
    # An operation has ended since the sweep: it may have been this run's, or in its way.
    record_unless_begun(*try_, deployed.ended_at)
    assert len(simulated.ledger.operations(JOB)) == 1
    since = datetime.now(UTC)
    record_unless_begun(*try_, since)
    assert decision(simulated, 1).why.endswith("after 1 of 6 tries: its run has failed")
    # It is counted already.
    record_unless_begun(*try_, since)
    assert len(simulated.ledger.operations(JOB)) == 2
    simulated.ledger.begin(JOB, kind="deploy", holder="me", release=1)
    record_unless_begun(*try_, datetime.now(UTC))
    assert len(simulated.ledger.operations(JOB)) == 3


def test_of_a_job_that_never_ran_nothing_is_recorded(simulated):
    record_unbegun(simulated.project, JOB, DeployRequest(), "me", "no")
    assert simulated.ledger.operations(JOB) == []
