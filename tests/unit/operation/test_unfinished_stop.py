"""A deploy died while it stopped the old job: what comes next is held against the state that the stop has left."""

import pytest

from sluice.errors import OperationError, RefusedError
from sluice.ledger.operation_handle import OperationHandle
from sluice.operation.stop import Stop
from tests.support.simulated import Died


@pytest.fixture
def ended(simulated, monkeypatch):
    """The job has stopped with a savepoint, which nobody has seen."""
    complete = Stop.complete

    def stops_and_dies(self, place):
        complete(self, place)
        raise Died

    first = simulated.deploy()
    with monkeypatch.context() as patched:
        patched.setattr(Stop, "complete", stops_and_dies)
        with pytest.raises(Died):
            simulated.operate("gone", overrides={"least": 1})
    assert simulated.place.phase == "stopping"
    assert not simulated.alive()
    return first


def test_a_change_of_what_state_means_needs_its_approval(simulated, ended):
    assert simulated.plan(overrides={"hours": 2}).plan.needs_approval
    with pytest.raises(RefusedError, match="state would be abandoned"):
        simulated.operate(overrides={"hours": 2})


def test_state_that_would_be_lost_is_refused(simulated, ended):
    simulated.compiles_to = {2: ("Other",)}
    with pytest.raises(RefusedError, match="the state of Window .* would be lost"):
        simulated.plan(overrides={"least": 2})


def test_what_fits_goes_on_with_all_of_it(simulated, ended):
    plan = simulated.plan(overrides={"least": 1}).plan
    assert (plan.category, [operator.name for operator in plan.state.kept]) == (
        "state_compatible",
        ["Source: lines", "Window"],
    )
    started = simulated.operate(overrides={"least": 1})
    assert started.restored_from == started.savepoint is not None


def test_what_is_not_found_again_is_refused(simulated, ended):
    simulated.ledger.saw_checkpoint("counts", ended.flink_job_id)
    simulated.files.clear()
    with pytest.raises(OperationError, match="nothing it left is found"):
        simulated.plan(overrides={"least": 1})


@pytest.mark.parametrize("write", ["add_savepoint", "record"])
def test_the_savepoint_is_listed_once_whatever_is_written_last(simulated, monkeypatch, write):
    simulated.deploy()
    original = getattr(OperationHandle, write)

    def writes_and_dies(self, *args, **kwargs):
        original(self, *args, **kwargs)
        if write == "add_savepoint" or args == ("stop", "stopped"):
            raise Died

    with monkeypatch.context() as patched:
        patched.setattr(OperationHandle, write, writes_and_dies)
        with pytest.raises(Died):
            simulated.operate("gone", overrides={"least": 1})
    started = simulated.operate(overrides={"least": 1})
    assert [found.path for found in simulated.ledger.savepoints("counts")] == [started.restored_from]
