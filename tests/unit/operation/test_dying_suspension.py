"""A suspension dies while it stops the job: it is gone on with as one, and nobody starts the job by the way."""

from datetime import UTC, datetime, timedelta

import pytest

from sluice.errors import RefusedError
from sluice.fleet import needs
from sluice.fleet.decision import decide
from sluice.fleet.members import read_members
from sluice.fleet.needs import read_decision_inputs
from sluice.operation.stop import Stop
from sluice.plan.request import DeployRequest
from tests.support.simulated import JOB, Died


@pytest.fixture(params=["alive", "ended"])
def suspending(simulated, monkeypatch, request):
    """It has died before Flink was told, or when the job had ended; its operation."""
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id)
    dying(simulated, monkeypatch, ended=request.param == "ended", kind="suspend")
    assert simulated.place.phase == "suspending"
    assert bool(simulated.alive()) == (request.param == "alive")
    return simulated.ledger.active(JOB).id


def dying(simulated, monkeypatch, holder="gone", *, ended, **request):
    complete = Stop.complete

    def dies(self, place):
        if ended:
            complete(self, place)
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Stop, "complete", dies)
        with pytest.raises(Died):
            simulated.operate(holder, **request)


@pytest.mark.parametrize("kind", ["deploy", "rollback"])
def test_nothing_starts_it_by_the_way(simulated, suspending, kind):
    with pytest.raises(
        RefusedError, match="counts is being suspended since .*sluice suspend counts brings that to its"
    ):
        simulated.operate("next", kind=kind)


def test_the_sweep_brings_it_to_its_end(simulated, suspending):
    [member] = read_members(simulated.project, [JOB], {})
    [case] = read_decision_inputs(simulated.project, [member.status], datetime.now(UTC) + timedelta(hours=1))
    decision = decide(case)
    assert decision.need == "suspend"
    assert needs._request(member.status, decision) == DeployRequest(kind="suspend", expected_release=1)
    started = simulated.operate("sweep", kind="suspend", expected_release=1)
    assert (simulated.place.phase, simulated.alive()) == ("suspended", [])
    assert simulated.place.state_path == started.savepoint is not None


@pytest.mark.parametrize("more", [{"kind": "resume"}, {"resume_suspended": True}])
def test_it_is_started_on_purpose(simulated, suspending, more):
    started = simulated.operate("next", **more)
    assert started.restored_from == started.savepoint is not None
    assert simulated.alive() == [simulated.place.flink_job_id] == [started.flink_job_id]


def test_what_was_woken_is_to_run_whoever_dies_then(simulated, suspending, monkeypatch):
    dying(simulated, monkeypatch, "next", ended=True, resume_suspended=True)
    assert simulated.place.phase == "stopping"
    assert simulated.operate("last").flink_job_id in simulated.alive()


def test_its_own_way_back_starts_nothing(simulated, suspending):
    alive = simulated.alive()
    back = simulated.roll_back(suspending)
    assert (back.outcome, simulated.alive(), simulated.place.phase) == ("failed", alive, "suspending")
    assert back.words == "it is bad; sluice suspend counts goes on with it"


def test_nor_does_it_once_the_job_is_down(simulated):
    simulated.deploy()
    suspended = simulated.operate(kind="suspend")
    assert simulated.roll_back(suspended.operation).outcome == "failed"
    assert (simulated.alive(), simulated.place.phase) == ([], "suspended")


def test_the_stop_of_a_deploy_that_died_may_become_a_suspension(simulated, monkeypatch):
    simulated.deploy()
    dying(simulated, monkeypatch, ended=False, overrides={"least": 1})
    assert simulated.place.phase == "stopping"
    dying(simulated, monkeypatch, "next", ended=False, kind="suspend")
    assert simulated.place.phase == "suspending"
