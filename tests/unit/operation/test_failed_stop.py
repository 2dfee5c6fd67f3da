"""The savepoint of a stop fails: Sluice asks Flink whether the job still runs."""

import pytest

from sluice.operation import stop as stop_module
from sluice.operation.stop import Stop, StopFailedError
from tests.simulator.simulated import JOB, Died

TOO_LATE = "CheckpointException: Checkpoint expired before completing"


@pytest.fixture
def first(simulated):
    started = simulated.deploy()
    simulated.checkpoint(started.flink_job_id)
    return started


def test_job_that_survives_a_failed_savepoint_is_running_in_the_ledger(simulated, first):
    simulated.savepoint_fails = TOO_LATE
    with pytest.raises(StopFailedError, match="the job runs on: .*Checkpoint expired"):
        simulated.operate(overrides={"least": 1})
    assert (simulated.place.phase, simulated.place.trigger_id) == ("running", None)
    assert simulated.alive() == [first.flink_job_id]
    assert simulated.ledger.operations(JOB)[0].outcome == "failed"


def test_job_that_fails_some_time_after_its_savepoint_is_replaced(simulated, first, monkeypatch):
    simulated.savepoint_fails = "CheckpointException: The job has failed."
    states = iter(["FAILING", "FAILING", "FAILED"])
    job_state = stop_module.job_state

    def fail_slowly(flink, job):
        if simulated.asked[-1][1].endswith("/status") or "/savepoints/" in simulated.asked[-1][1]:
            simulated.states[job] = next(states, "FAILED")
        return job_state(flink, job)

    monkeypatch.setattr(stop_module, "job_state", fail_slowly)
    monkeypatch.setattr(stop_module, "_SETTLES", 0.0)
    started = simulated.operate(overrides={"least": 1})
    assert started.restored_from == simulated.completed[first.flink_job_id]
    assert simulated.alive() == [started.flink_job_id]


def test_rollback_whose_stop_fails_leaves_the_old_job_running(simulated, first, monkeypatch):
    def crash(self, place):
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Stop, "complete", crash)
        with pytest.raises(Died):
            simulated.operate("crashed", overrides={"least": 1})
    simulated.savepoint_fails = TOO_LATE
    back = simulated.roll_back(simulated.ledger.active(JOB).id)
    assert back.outcome == "failed"
    assert "the savepoint failed, the job runs on" in back.words
    assert back.words.endswith("nothing was changed")
    assert (simulated.place.phase, simulated.place.trigger_id) == ("running", None)
    simulated.savepoint_fails = None
    assert simulated.operate(overrides={"least": 1}).former_job_id == first.flink_job_id
