"""The rollback of a release that had abandoned state crashes at each of its writes; no release gets another's state."""

import pytest

from sluice.errors import RefusedError
from tests.simulator.simulated import JOB, die

WRITES = 8
"""begin, cancel, stopped, submit, submitted, started, the operation's columns, its end."""
DEATHS = [*((at, "after") for at in range(1, WRITES + 1)), (3, "before"), (5, "before")]
"""The crashes before a write follow an effect: the job was cancelled (3), the job was submitted (5)."""


@pytest.fixture
def bad(simulated):
    """Release 2, with windows of two hours, which was started without state by an approval."""
    first = simulated.deploy()
    simulated.cluster.checkpoint(first.flink_job_id)
    return simulated.operate("crashed", overrides={"hours": 2}, approved=True)


def hours(simulated, release):
    return simulated.ledger.release(JOB, release).resolved["config"]["hours"]


@pytest.mark.parametrize(("at", "when"), DEATHS)
def test_deploy_after_an_interrupted_rollback_gives_no_state_another_meaning(simulated, bad, at, when):
    with simulated.crash(when, at):
        simulated.roll_back(bad.operation)
    simulated.operate("next")
    place = simulated.place
    assert simulated.cluster.running_jobs() == [place.flink_job_id]
    of = {savepoint.path: savepoint.release for savepoint in simulated.ledger.savepoints(JOB)}
    if place.restored_from:
        assert hours(simulated, of[place.restored_from]) == hours(simulated, place.release)


def test_rollback_makes_no_ledger_writes_beyond_the_tested_ones(simulated, bad):
    with simulated.ledger.at_write("before", WRITES + 1, die):
        assert simulated.roll_back(bad.operation).outcome == "rolled_back"


@pytest.fixture
def cancelled(simulated, bad):
    """The rollback has crashed before it cancelled release 2."""
    with simulated.crash("after", "back cancel"):
        simulated.roll_back(bad.operation)
    return bad


def test_deploy_after_an_interrupted_rollback_restores_the_former_release(simulated, cancelled):
    started = simulated.operate("next")
    assert (started.release, started.restored_from) == (1, cancelled.savepoint)


def test_new_release_needs_another_approval_after_an_interrupted_rollback(simulated, cancelled):
    with pytest.raises(RefusedError, match="state would be abandoned: config.hours"):
        simulated.operate("next", overrides={"hours": 2})
    started = simulated.operate("next", overrides={"hours": 2}, approved=True)
    assert (started.release, started.restored_from, simulated.place.state_path) == (2, None, cancelled.savepoint)
    assert simulated.ledger.active(JOB).former_release == 1


def test_interrupted_rollback_can_be_continued(simulated, cancelled):
    assert simulated.roll_back(cancelled.operation).outcome == "rolled_back"
    assert (simulated.place.release, simulated.place.restored_from) == (1, cancelled.savepoint)


def test_resume_after_an_interrupted_rollback_restores_the_former_release(simulated, cancelled):
    started = simulated.operate("next", kind="resume")
    assert (started.release, started.restored_from) == (1, cancelled.savepoint)
