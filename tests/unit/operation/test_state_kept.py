"""A job takes over the state of its predecessor, whatever ended the operation before."""

import pytest

from sluice.errors import RefusedError
from sluice.kafka.offsets import Offsets
from tests.simulator.simulated import TOPIC


@pytest.fixture
def stateless(simulated):
    """A job that was started without state, by a deploy that crashed before the first checkpoint."""
    simulated.deploy()
    return simulated.operate("crashed", overrides={"hours": 2}, approved=True)


def test_job_that_started_without_state_hands_over_its_new_state(simulated, stateless):
    simulated.cluster.checkpoint(stateless.flink_job_id)
    started = simulated.operate(overrides={"least": 1})
    assert started.restored_from == started.savepoint is not None


def test_state_that_only_the_savepoint_of_the_stop_shows_is_handed_over(simulated, stateless):
    started = simulated.operate(overrides={"least": 1})
    assert started.restored_from == started.savepoint is not None


def test_suspended_job_that_started_without_state_resumes_from_its_new_state(simulated, stateless):
    suspended = simulated.deploy(kind="suspend")
    resumed = simulated.operate(kind="resume")
    assert resumed.restored_from == suspended.savepoint is not None


def test_lost_job_that_started_without_state_restarts_from_its_new_state(simulated, stateless):
    path = simulated.cluster.checkpoint(stateless.flink_job_id)
    simulated.cluster.states.clear()
    plan = simulated.plan().plan
    assert [stage.source for stage in plan.stages if stage.stage == "start"] == ["checkpoint"]
    assert simulated.operate().restored_from == path


def test_lost_job_without_any_checkpoint_restarts_at_its_start_offsets(simulated, stateless):
    simulated.cluster.states.clear()
    before = simulated.place
    again = simulated.operate()
    assert again.restored_from is None
    assert simulated.compiler.prepared[-1][1]
    assert simulated.committed == {(TOPIC, 0): 7}
    assert simulated.place.state_path == before.state_path


def test_mode_stateless_ignores_the_positions_of_a_recreated_topic(simulated):
    simulated.deploy()
    simulated.cluster.checkpoint(simulated.place.flink_job_id, position=5_000)
    simulated.brokers.ends = {(TOPIC, 0): Offsets(0, 10)}
    with pytest.raises(RefusedError, match="the topic was deleted and created again"):
        simulated.plan(overrides={"least": 1})
    started = simulated.operate(overrides={"least": 1}, mode="stateless", approved=True)
    assert (started.positions, simulated.committed) == ({}, {})


def test_mode_stateless_keeps_positions_that_the_topic_still_has(simulated):
    simulated.deploy()
    started = simulated.operate(overrides={"least": 1}, mode="stateless", approved=True)
    assert started.positions == {TOPIC: {"0": 7}}


@pytest.mark.parametrize("failure", [None, "CheckpointException: The job has failed."])
def test_job_that_fails_while_it_stops_hands_over_its_newest_checkpoint(simulated, failure):
    first = simulated.deploy()
    path = simulated.cluster.checkpoint(first.flink_job_id)
    simulated.cluster.fails_at_stop, simulated.cluster.savepoint_failure = True, failure
    started = simulated.operate(overrides={"least": 1})
    assert (started.restored_from, started.savepoint) == (path, None)
    assert simulated.ledger.savepoints("counts") == []
    assert (
        "the job ended before its savepoint was complete: its newest checkpoint is used instead" in simulated.log_lines
    )
