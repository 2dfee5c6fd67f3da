"""The release to which an operation rolls back, if an earlier operation crashed."""

import pytest

from sluice.errors import FlinkError, RefusedError
from tests.simulator.simulated import Died


def test_rollback_skips_a_release_that_was_never_submitted(simulated):
    first = simulated.deploy()
    simulated.cluster.dies_at_submit = "before"
    with pytest.raises(Died):
        simulated.operate("crashed", overrides={"least": 1})
    simulated.cluster.dies_at_submit, simulated.cluster.submit_errors = None, [FlinkError("no")]
    planned = simulated.plan()
    assert (planned.plan.action, planned.plan.former_release) == ("recover", first.release)
    with pytest.raises(FlinkError):
        simulated.operate()
    back = simulated.roll_back(simulated.ledger.active("counts").id)
    assert (back.outcome, simulated.place.release) == ("rolled_back", first.release)
    assert simulated.cluster.running_jobs() == [back.flink_job_id]


def test_rollback_skips_a_release_that_failed_before_it_was_healthy(simulated):
    first = simulated.deploy()
    bad = simulated.operate("crashed", overrides={"least": 1})
    simulated.cluster.states[bad.flink_job_id] = "FAILED"
    assert simulated.plan().plan.former_release == first.release


def test_former_release_of_a_lost_healthy_release_is_the_release_itself(simulated):
    first = simulated.deploy()
    simulated.cluster.states.clear()
    assert simulated.plan().plan.former_release == first.release


def test_rollback_is_refused_if_another_release_than_expected_is_deployed(simulated):
    """A sweep's rollback waits in a queue while a person deploys."""
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    simulated.deploy(overrides={"least": 2})
    with pytest.raises(RefusedError, match="the request expects release 2 to be deployed, and release 3 is"):
        simulated.operate(kind="rollback", target_release=1, expected_release=2)
    assert simulated.place.release == 3
    started = simulated.operate(kind="rollback", target_release=1, expected_release=3)
    # A retry finds its own release, and continues.
    assert simulated.operate(kind="rollback", target_release=1, expected_release=3).flink_job_id == started.flink_job_id
