"""A deploy crashed while it stopped the old job: the next plan is checked against the state after that stop."""

import pytest

from sluice.errors import OperationError, RefusedError


@pytest.fixture
def ended(simulated):
    """A job that has stopped with a savepoint, which is not recorded."""
    first = simulated.deploy()
    with simulated.crash("before", "savepoint"):
        simulated.operate("crashed", overrides={"least": 1})
    assert simulated.place.phase == "stopping"
    assert not simulated.cluster.running_jobs()
    return first


def test_change_of_meaning_after_an_unfinished_stop_needs_an_approval(simulated, ended):
    assert simulated.plan(overrides={"hours": 2}).plan.needs_approval
    with pytest.raises(RefusedError, match="state would be abandoned"):
        simulated.operate(overrides={"hours": 2})


def test_loss_of_state_after_an_unfinished_stop_is_refused(simulated, ended):
    simulated.compiler.compiles_to = {2: ("Other",)}
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
    simulated.cluster.snapshots.clear()
    with pytest.raises(OperationError, match="has ended, and no state of it is found in"):
        simulated.plan(overrides={"least": 1})


@pytest.mark.parametrize("write", ["savepoint", "stop stopped"])
def test_savepoint_of_an_interrupted_stop_is_listed_once(simulated, write):
    simulated.deploy()
    with simulated.crash("after", write):
        simulated.operate("crashed", overrides={"least": 1})
    started = simulated.operate(overrides={"least": 1})
    assert [found.path for found in simulated.ledger.savepoints("counts")] == [started.restored_from]
