"""A suspension crashes while it stops the job: it stays a suspension, and only a request to resume starts the job."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice.errors import RefusedError
from sluice.fleet import needs
from sluice.fleet.decision import decide
from sluice.fleet.members import read_members
from sluice.fleet.needs import read_decision_inputs
from sluice.plan.request import DeployRequest
from tests.simulator.simulated import JOB


@pytest.fixture(params=["alive", "ended"])
def suspending(simulated, request):
    """The operation of a suspension that crashed before it requested the stop, or after the job had ended."""
    first = simulated.deploy()
    simulated.cluster.checkpoint(first.flink_job_id)
    crash_at_stop(simulated, ended=request.param == "ended", kind="suspend")
    assert simulated.place.phase == "suspending"
    assert bool(simulated.cluster.running_jobs()) == (request.param == "alive")
    return simulated.ledger.active(JOB).id


def crash_at_stop(simulated, holder="crashed", *, ended, **request):
    when, write = ("before", "savepoint") if ended else ("after", "stop stop")
    with simulated.crash(when, write):
        simulated.operate(holder, **request)


@pytest.mark.parametrize("kind", ["deploy", "rollback"])
def test_deploy_and_rollback_are_refused_after_an_interrupted_suspension(simulated, suspending, kind):
    with pytest.raises(
        RefusedError, match="counts is being suspended since .*sluice suspend counts completes the suspension"
    ):
        simulated.operate("next", kind=kind)


def test_sweep_completes_an_interrupted_suspension(simulated, suspending):
    [member] = read_members(simulated.project, [JOB], {})
    [case] = read_decision_inputs(simulated.project, [member.status], datetime.now(UTC) + timedelta(hours=1))
    decision = decide(case)
    assert decision.need == "suspend"
    assert needs._request(member.status, decision) == DeployRequest(kind="suspend", expected_release=1)
    started = simulated.operate("sweep", kind="suspend", expected_release=1)
    assert (simulated.place.phase, simulated.cluster.running_jobs()) == ("suspended", [])
    assert simulated.place.state_path == started.savepoint is not None


@pytest.mark.parametrize("more", [{"kind": "resume"}, {"resume_suspended": True}])
def test_job_of_an_interrupted_suspension_is_resumed_on_request(simulated, suspending, more):
    started = simulated.operate("next", **more)
    assert started.restored_from == started.savepoint is not None
    assert simulated.cluster.running_jobs() == [simulated.place.flink_job_id] == [started.flink_job_id]


def test_deploy_after_an_interrupted_resume_starts_the_job(simulated, suspending):
    crash_at_stop(simulated, "next", ended=True, resume_suspended=True)
    assert simulated.place.phase == "stopping"
    assert simulated.operate("last").flink_job_id in simulated.cluster.running_jobs()


def test_rollback_of_an_interrupted_suspension_starts_nothing(simulated, suspending):
    alive = simulated.cluster.running_jobs()
    back = simulated.roll_back(suspending)
    assert (back.outcome, simulated.cluster.running_jobs(), simulated.place.phase) == ("failed", alive, "suspending")
    assert back.words == "it is bad; sluice suspend counts continues the suspension"


def test_rollback_of_a_suspension_that_stopped_the_job_starts_nothing(simulated):
    simulated.deploy()
    suspended = simulated.operate(kind="suspend")
    assert simulated.roll_back(suspended.operation).outcome == "failed"
    assert (simulated.cluster.running_jobs(), simulated.place.phase) == ([], "suspended")


def test_suspension_takes_over_the_stop_of_an_interrupted_deploy(simulated):
    simulated.deploy()
    crash_at_stop(simulated, ended=False, overrides={"least": 1})
    assert simulated.place.phase == "stopping"
    crash_at_stop(simulated, "next", ended=False, kind="suspend")
    assert simulated.place.phase == "suspending"
