"""A try that could not even be planned is counted as others are."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice.fleet.cases import read_cases
from sluice.fleet.decision import decide
from sluice.fleet.rows import JobStatus
from sluice.operation.unbegun import record_unbegun
from sluice.plan.request import Request
from tests.support.simulated import JOB


def decision(simulated, after, drift=False):
    """What a sweep decides so many minutes later, the job being gone."""
    place = simulated.place
    row = JobStatus(
        JOB, "gone", place.release, place.flink_job_id, verdict="failed", drift=drift, phase=place.phase, reasons=("x",)
    )
    [case] = read_cases(simulated.project, [row], datetime.now(UTC) + timedelta(minutes=after))
    return decide(case)


@pytest.mark.parametrize("drift", [False, True])
def test_a_recovery_that_can_not_be_planned_is_tried_less_and_less_often_and_then_given_up(simulated, drift):
    simulated.deploy()
    request = Request(kind="rollback", to=1, seen=1) if drift else Request()
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
    record_unbegun(simulated.project, JOB, Request(kind="rollback", seen=2), "me", "no way back")
    simulated.rewrite((simulated.project.settings.root / "flink_jobs" / f"{JOB}.py").read_text() + "\nMORE = 1\n")
    record_unbegun(simulated.project, JOB, Request(), "me", "it does not compile")
    [first, *_] = simulated.ledger.operations(JOB)
    assert (first.kind, first.release, first.outcome, first.reason) == ("rollback", 1, "failed", "no way back")
    assert decision(simulated, 1, drift=True).need == "recover"


def test_of_a_job_that_never_ran_nothing_is_recorded(simulated):
    record_unbegun(simulated.project, JOB, Request(), "me", "no")
    assert simulated.ledger.operations(JOB) == []
