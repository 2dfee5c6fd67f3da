"""A savepoint fails: whether the job runs on is looked at, and not taken for granted."""

import pytest

from sluice.operation import stop as stop_module
from sluice.operation.stop import Stop, StopFailedError
from tests.support.simulated import JOB, Died

TOO_LATE = "CheckpointException: Checkpoint expired before completing"


@pytest.fixture
def first(simulated):
    started = simulated.deploy()
    simulated.checkpoint(started.flink_job_id)
    return started


def test_a_job_that_runs_on_stands_so_in_the_ledger(simulated, first):
    simulated.savepoint_fails = TOO_LATE
    with pytest.raises(StopFailedError, match="the job runs on: .*Checkpoint expired"):
        simulated.operate(overrides={"least": 1})
    assert (simulated.place.phase, simulated.place.trigger_id) == ("running", None)
    assert simulated.alive() == [first.flink_job_id]
    assert simulated.ledger.operations(JOB)[0].outcome == "failed"


def test_one_that_takes_its_time_to_fail_has_failed(simulated, first, monkeypatch):
    simulated.savepoint_fails = "CheckpointException: The job has failed."
    looks = iter(["FAILING", "FAILING", "FAILED"])
    job_state = stop_module.job_state

    def later(flink, job):
        if simulated.asked[-1][1].endswith("/status") or "/savepoints/" in simulated.asked[-1][1]:
            simulated.states[job] = next(looks, "FAILED")
        return job_state(flink, job)

    monkeypatch.setattr(stop_module, "job_state", later)
    monkeypatch.setattr(stop_module, "_SETTLES", 0.0)
    started = simulated.operate(overrides={"least": 1})
    assert started.restored_from == simulated.completed[first.flink_job_id]
    assert simulated.alive() == [started.flink_job_id]


def test_a_way_back_whose_stop_fails_leaves_the_old_job_running(simulated, first, monkeypatch):
    def dies(self, place):
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(Stop, "complete", dies)
        with pytest.raises(Died):
            simulated.operate("gone", overrides={"least": 1})
    simulated.savepoint_fails = TOO_LATE
    back = simulated.roll_back(simulated.ledger.active(JOB).id)
    assert back.outcome == "failed"
    assert "the savepoint failed, the job runs on" in back.words
    assert back.words.endswith("nothing was changed")
    assert (simulated.place.phase, simulated.place.trigger_id) == ("running", None)
    simulated.savepoint_fails = None
    assert simulated.operate(overrides={"least": 1}).former_job_id == first.flink_job_id
