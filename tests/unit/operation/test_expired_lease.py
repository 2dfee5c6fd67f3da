"""A process that paused for longer than its lease finds that another one has taken over, and leaves no job behind."""

import pytest

from sluice.errors import BusyError
from sluice.ledger.operation_handle import OperationHandle
from sluice.operation.stop import Stop
from tests.simulator.simulated import JOB, Died


@pytest.fixture
def first(simulated):
    started = simulated.deploy()
    simulated.checkpoint(started.flink_job_id)
    return started


def once(action):
    """A function that performs the action at its first call."""
    pending = [action]

    def call():
        if pending:
            pending.pop()()

    return call


@pytest.mark.parametrize("outcome", ["healthy", None])
def test_job_that_is_submitted_after_a_takeover_is_cancelled(simulated, first, monkeypatch, outcome):
    def take_over():
        started = simulated.operate("other", overrides={"least": 1})
        if outcome:
            simulated.settle(started)

    submit, sleep = simulated.submit, once(take_over)

    def submit_late(order):
        sleep()
        submit(order)

    monkeypatch.setattr(simulated, "submit", submit_late)
    with pytest.raises(BusyError, match="was taken over by another process"):
        simulated.operate("sleeper", overrides={"least": 1})
    assert len(simulated.orders) == 3
    assert simulated.alive() == [simulated.place.flink_job_id]
    assert simulated.ledger.operations(JOB)[0].outcome == outcome


def test_job_that_the_new_holder_has_adopted_is_not_cancelled(simulated, first, monkeypatch):
    adopted = []
    record, sleep = OperationHandle.record, once(lambda: adopted.append(simulated.operate("other")))

    def record_late(self, stage, event, **more):
        if event == "submitted":
            sleep()
        record(self, stage, event, **more)

    monkeypatch.setattr(OperationHandle, "record", record_late)
    with pytest.raises(BusyError):
        simulated.operate("sleeper", overrides={"least": 1})
    [other] = adopted
    assert (other.unchanged, simulated.alive()) == (True, [other.flink_job_id])


def test_deploy_with_an_expired_lease_does_not_stop_the_job_of_the_new_holder(simulated, first, monkeypatch):
    record, sleep = OperationHandle.record, once(lambda: simulated.deploy(holder="other", overrides={"least": 1}))

    def record_and_sleep(self, stage, event, **more):
        record(self, stage, event, **more)
        if (stage, event) == ("stop", "stop"):
            sleep()

    monkeypatch.setattr(OperationHandle, "record", record_and_sleep)
    with pytest.raises(BusyError):
        simulated.operate("sleeper", overrides={"least": 2})
    assert (simulated.alive(), simulated.place.release) == ([simulated.place.flink_job_id], 3)


def test_rollback_with_an_expired_lease_does_not_stop_the_job_of_the_new_holder(simulated, first, monkeypatch):
    bad = simulated.operate("sleeper", overrides={"least": 1})
    stopped = []

    def crash(_self, place):
        stopped.append(place.flink_job_id)
        raise Died

    def take_over():
        simulated.deploy(holder="other", overrides={"least": 2})
        monkeypatch.setattr(Stop, "complete", crash)
        with pytest.raises(Died):
            simulated.operate("crashed", overrides={"least": 3})

    record, sleep = OperationHandle.record, once(take_over)

    def record_and_sleep(self, stage, event, **more):
        record(self, stage, event, **more)
        if (stage, event) == ("back", "cancel"):
            sleep()

    monkeypatch.setattr(OperationHandle, "record", record_and_sleep)
    with pytest.raises(BusyError):
        simulated.roll_back(bad.operation)
    assert stopped == simulated.alive() == [simulated.place.flink_job_id]
