"""The way back of a release that had abandoned state dies at each of its writes: state is given to its own release."""

import pytest

from sluice.errors import RefusedError
from sluice.ledger.operation_handle import OperationHandle
from tests.support.simulated import JOB, Died

WRITES = 8
"""begin, cancel, stopped, submit, submitted, started, the operation's columns, its end."""
DEATHS = [*((at, "after") for at in range(1, WRITES + 1)), (3, "before"), (5, "before")]
"""The two that come after an effect: it has been cancelled, it has been submitted."""


@pytest.fixture
def bad(simulated):
    """Release 2, whose windows are of two hours: it was started without state, as was approved."""
    first = simulated.deploy()
    simulated.checkpoint(first.flink_job_id)
    return simulated.operate("gone", overrides={"hours": 2}, approved=True)


def dies_at(monkeypatch, at, when):
    """Let the n-th write be the last one; whether it has come to that."""
    seen = []

    def dying(write):
        def writes(self, *args, **kwargs):
            seen.append(args)
            if len(seen) == at and when == "before":
                raise Died
            write(self, *args, **kwargs)
            if len(seen) == at:
                raise Died

        return writes

    for name in ("record", "update", "add_savepoint", "finish"):
        monkeypatch.setattr(OperationHandle, name, dying(getattr(OperationHandle, name)))


def hours(simulated, release):
    return simulated.ledger.release(JOB, release).resolved["config"]["hours"]


@pytest.mark.parametrize(("at", "when"), DEATHS)
def test_what_comes_next_gives_no_state_to_another_meaning(simulated, bad, monkeypatch, at, when):
    with monkeypatch.context() as patched:
        dies_at(patched, at, when)
        with pytest.raises(Died):
            simulated.roll_back(bad.operation)
    simulated.operate("next")
    place = simulated.place
    assert simulated.alive() == [place.flink_job_id]
    of = {savepoint.path: savepoint.release for savepoint in simulated.ledger.savepoints(JOB)}
    if place.restored_from:
        assert hours(simulated, of[place.restored_from]) == hours(simulated, place.release)


def test_it_has_as_many_writes(simulated, bad, monkeypatch):
    with monkeypatch.context() as patched:
        dies_at(patched, WRITES + 1, "before")
        assert simulated.roll_back(bad.operation).outcome == "rolled_back"


@pytest.fixture
def cancelled(simulated, bad, monkeypatch):
    """The way back has died when it was about to cancel release 2."""
    with monkeypatch.context() as patched:
        dies_at(patched, 2, "after")
        with pytest.raises(Died):
            simulated.roll_back(bad.operation)
    return bad


def test_the_next_deploy_brings_the_former_release_back_from_its_own_state(simulated, cancelled):
    started = simulated.operate("next")
    assert (started.release, started.restored_from) == (1, cancelled.savepoint)


def test_the_new_one_is_asked_for_anew_and_needs_its_approval_anew(simulated, cancelled):
    with pytest.raises(RefusedError, match="state would be abandoned: config.hours"):
        simulated.operate("next", overrides={"hours": 2})
    started = simulated.operate("next", overrides={"hours": 2}, approved=True)
    assert (started.release, started.restored_from, simulated.place.state_path) == (2, None, cancelled.savepoint)
    assert simulated.ledger.active(JOB).former_release == 1


def test_the_operation_itself_goes_on_with_its_way_back(simulated, cancelled):
    assert simulated.roll_back(cancelled.operation).outcome == "rolled_back"
    assert (simulated.place.release, simulated.place.restored_from) == (1, cancelled.savepoint)


def test_so_does_a_resumption(simulated, cancelled):
    started = simulated.operate("next", kind="resume")
    assert (started.release, started.restored_from) == (1, cancelled.savepoint)
