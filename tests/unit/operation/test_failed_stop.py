"""The savepoint of a stop fails: Sluice asks Flink whether the job still runs."""

import pytest

from sluice.operation.stop import StopFailedError
from tests.simulator.simulated import JOB

TOO_LATE = "CheckpointException: Checkpoint expired before completing"


@pytest.fixture
def first(simulated):
    started = simulated.deploy()
    simulated.cluster.checkpoint(started.flink_job_id)
    return started


def test_job_that_survives_a_failed_savepoint_is_running_in_the_ledger(simulated, first):
    simulated.cluster.savepoint_failure = TOO_LATE
    with pytest.raises(StopFailedError, match="the job runs on: .*Checkpoint expired"):
        simulated.operate(overrides={"least": 1})
    assert (simulated.place.phase, simulated.place.trigger_id) == ("running", None)
    assert simulated.cluster.running_jobs() == [first.flink_job_id]
    assert simulated.ledger.operations(JOB)[0].outcome == "failed"


def test_job_that_fails_some_time_after_its_savepoint_is_replaced(simulated, first):
    simulated.cluster.savepoint_failure = "CheckpointException: The job has failed."
    simulated.cluster.fails_at_stop, simulated.cluster.failing_for = True, 30.0
    started = simulated.operate(overrides={"least": 1})
    assert started.restored_from == simulated.cluster.newest_checkpoints[first.flink_job_id]
    assert simulated.cluster.running_jobs() == [started.flink_job_id]


def test_rollback_whose_stop_fails_leaves_the_old_job_running(simulated, first):
    with simulated.crash("after", "stop stop"):
        simulated.operate("crashed", overrides={"least": 1})
    simulated.cluster.savepoint_failure = TOO_LATE
    back = simulated.roll_back(simulated.ledger.active(JOB).id)
    assert back.outcome == "failed"
    assert "the savepoint failed, the job runs on" in back.words
    assert back.words.endswith("nothing was changed")
    assert (simulated.place.phase, simulated.place.trigger_id) == ("running", None)
    simulated.cluster.savepoint_failure = None
    assert simulated.operate(overrides={"least": 1}).former_job_id == first.flink_job_id
