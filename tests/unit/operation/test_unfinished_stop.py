"""A deploy crashed while it stopped the old job: the next plan is checked against the state after that stop."""

import pytest

from sluice.errors import OperationError, RefusedError
from sluice.ledger.operation_handle import OperationHandle
from sluice.operation.stop import Stop
from tests.simulator.simulated import Died


@pytest.fixture
def ended(simulated, monkeypatch):
    """A job that has stopped with a savepoint, which is not recorded."""
    complete = Stop.complete

    def complete_and_crash(self, place):
        complete(self, place)
        raise Died

    first = simulated.deploy()
    with monkeypatch.context() as patched:
        patched.setattr(Stop, "complete", complete_and_crash)
        with pytest.raises(Died):
            simulated.operate("crashed", overrides={"least": 1})
    assert simulated.place.phase == "stopping"
    assert not simulated.alive()
    return first


def test_change_of_meaning_after_an_unfinished_stop_needs_an_approval(simulated, ended):
    assert simulated.plan(overrides={"hours": 2}).plan.needs_approval
    with pytest.raises(RefusedError, match="state would be abandoned"):
        simulated.operate(overrides={"hours": 2})


def test_loss_of_state_after_an_unfinished_stop_is_refused(simulated, ended):
    simulated.compiles_to = {2: ("Other",)}
    with pytest.raises(RefusedError, match="the state of Window .* would be lost"):
        simulated.plan(overrides={"least": 2})


def test_compatible_release_takes_over_all_state_of_an_unfinished_stop(simulated, ended):
    plan = simulated.plan(overrides={"least": 1}).plan
    assert (plan.category, [operator.name for operator in plan.state.kept]) == (
        "state_compatible",
        ["Source: lines", "Window"],
    )
    started = simulated.operate(overrides={"least": 1})
    assert started.restored_from == started.savepoint is not None


def test_missing_state_after_an_unfinished_stop_is_refused(simulated, ended):
    simulated.ledger.saw_checkpoint("counts", ended.flink_job_id)
    simulated.files.clear()
    with pytest.raises(OperationError, match="has ended, and no state of it is found in"):
        simulated.plan(overrides={"least": 1})


@pytest.mark.parametrize("write", ["add_savepoint", "record"])
def test_savepoint_of_an_interrupted_stop_is_listed_once(simulated, monkeypatch, write):
    simulated.deploy()
    original = getattr(OperationHandle, write)

    def write_and_crash(self, *args, **kwargs):
        original(self, *args, **kwargs)
        if write == "add_savepoint" or args == ("stop", "stopped"):
            raise Died

    with monkeypatch.context() as patched:
        patched.setattr(OperationHandle, write, write_and_crash)
        with pytest.raises(Died):
            simulated.operate("crashed", overrides={"least": 1})
    started = simulated.operate(overrides={"least": 1})
    assert [found.path for found in simulated.ledger.savepoints("counts")] == [started.restored_from]
