"""A process that was away for longer than its lease finds that another one has gone on, and leaves nothing behind."""

import pytest

from sluice.errors import BusyError
from sluice.ledger.operation_handle import OperationHandle
from sluice.operation.stop import Stop
from tests.support.simulated import JOB, Died


@pytest.fixture
def first(simulated):
    started = simulated.deploy()
    simulated.checkpoint(started.flink_job_id)
    return started


def once(doing):
    """Do it at the first call."""
    to_do = [doing]

    def call():
        if to_do:
            to_do.pop()()

    return call


@pytest.mark.parametrize("outcome", ["healthy", None])
def test_what_it_has_submitted_beside_the_other_one_is_ended_again(simulated, first, monkeypatch, outcome):
    def other():
        started = simulated.operate("other", overrides={"least": 1})
        if outcome:
            simulated.settle(started)

    submit, sleep = simulated.submit, once(other)

    def submits_late(order):
        sleep()
        submit(order)

    monkeypatch.setattr(simulated, "submit", submits_late)
    with pytest.raises(BusyError, match="was taken over by another process"):
        simulated.operate("sleeper", overrides={"least": 1})
    assert len(simulated.orders) == 3
    assert simulated.alive() == [simulated.place.flink_job_id]
    assert simulated.ledger.operations(JOB)[0].outcome == outcome


def test_what_the_other_one_has_found_is_left_to_it(simulated, first, monkeypatch):
    found = []
    record, sleep = OperationHandle.record, once(lambda: found.append(simulated.operate("other")))

    def records_late(self, stage, event, **more):
        if event == "submitted":
            sleep()
        record(self, stage, event, **more)

    monkeypatch.setattr(OperationHandle, "record", records_late)
    with pytest.raises(BusyError):
        simulated.operate("sleeper", overrides={"least": 1})
    [other] = found
    assert (other.unchanged, simulated.alive()) == (True, [other.flink_job_id])


def test_it_stops_nothing_that_the_other_one_has_started(simulated, first, monkeypatch):
    record, sleep = OperationHandle.record, once(lambda: simulated.deploy(holder="other", overrides={"least": 1}))

    def sleeps_afterwards(self, stage, event, **more):
        record(self, stage, event, **more)
        if (stage, event) == ("stop", "stop"):
            sleep()

    monkeypatch.setattr(OperationHandle, "record", sleeps_afterwards)
    with pytest.raises(BusyError):
        simulated.operate("sleeper", overrides={"least": 2})
    assert (simulated.alive(), simulated.place.release) == ([simulated.place.flink_job_id], 3)


def test_nor_does_it_when_it_goes_back(simulated, first, monkeypatch):
    bad = simulated.operate("sleeper", overrides={"least": 1})
    stopped = []

    def stops_and_dies(_self, place):
        stopped.append(place.flink_job_id)
        raise Died

    def other():
        simulated.deploy(holder="other", overrides={"least": 2})
        monkeypatch.setattr(Stop, "complete", stops_and_dies)
        with pytest.raises(Died):
            simulated.operate("gone", overrides={"least": 3})

    record, sleep = OperationHandle.record, once(other)

    def sleeps_afterwards(self, stage, event, **more):
        record(self, stage, event, **more)
        if (stage, event) == ("back", "cancel"):
            sleep()

    monkeypatch.setattr(OperationHandle, "record", sleeps_afterwards)
    with pytest.raises(BusyError):
        simulated.roll_back(bad.operation)
    assert stopped == simulated.alive() == [simulated.place.flink_job_id]
