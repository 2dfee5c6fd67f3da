"""What an operation goes back to, where another one has died before it."""

import pytest

from sluice.errors import FlinkError, RefusedError
from tests.support.simulated import Died


def test_a_release_that_was_never_submitted_is_none_to_go_back_to(simulated):
    first = simulated.deploy()
    simulated.dies_at = "before"
    with pytest.raises(Died):
        simulated.operate("gone", overrides={"least": 1})
    simulated.dies_at, simulated.refuses = None, [FlinkError("no")]
    planned = simulated.plan()
    assert (planned.plan.action, planned.plan.former_release) == ("recover", first.release)
    with pytest.raises(FlinkError):
        simulated.operate()
    back = simulated.roll_back(simulated.ledger.active("counts").id)
    assert (back.outcome, simulated.place.release) == ("rolled_back", first.release)
    assert simulated.alive() == [back.flink_job_id]


def test_neither_is_one_that_has_failed_and_was_never_proven(simulated):
    first = simulated.deploy()
    bad = simulated.operate("gone", overrides={"least": 1})
    simulated.states[bad.flink_job_id] = "FAILED"
    assert simulated.plan().plan.former_release == first.release


def test_a_proven_release_that_was_lost_comes_back_as_itself(simulated):
    first = simulated.deploy()
    simulated.states.clear()
    assert simulated.plan().plan.former_release == first.release


def test_what_was_asked_of_one_release_is_not_done_to_another(simulated):
    """A sweep's roll-back waits in a queue, while somebody deploys."""
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    simulated.deploy(overrides={"least": 2})
    with pytest.raises(RefusedError, match="the request expects release 2 to be deployed, and release 3 is"):
        simulated.operate(kind="rollback", target_release=1, expected_release=2)
    assert simulated.place.release == 3
    started = simulated.operate(kind="rollback", target_release=1, expected_release=3)
    # A retry of the same finds its own release, and goes on.
    assert simulated.operate(kind="rollback", target_release=1, expected_release=3).flink_job_id == started.flink_job_id
