"""What a job has left goes on with the next one, whatever ended the operation before."""

import pytest

from sluice.errors import RefusedError
from sluice.kafka.offsets import Offsets
from tests.support.simulated import TOPIC


@pytest.fixture
def abandoned(simulated):
    """A job that was started without state, on purpose; its operation died before it had seen a checkpoint."""
    simulated.deploy()
    return simulated.operate("gone", overrides={"hours": 2}, approved=True)


def test_a_job_that_was_started_without_state_hands_over_what_it_has_by_now(simulated, abandoned):
    simulated.checkpoint(abandoned.flink_job_id)
    started = simulated.operate(overrides={"least": 1})
    assert started.restored_from == started.savepoint is not None


def test_so_it_does_where_the_stop_alone_has_found_it(simulated, abandoned):
    started = simulated.operate(overrides={"least": 1})
    assert started.restored_from == started.savepoint is not None


def test_so_it_does_after_a_suspension(simulated, abandoned):
    suspended = simulated.deploy(kind="suspend")
    resumed = simulated.operate(kind="resume")
    assert resumed.restored_from == suspended.savepoint is not None


def test_so_it_does_after_its_loss(simulated, abandoned):
    path = simulated.checkpoint(abandoned.flink_job_id)
    simulated.states.clear()
    plan = simulated.plan().plan
    assert [stage.source for stage in plan.stages if stage.stage == "start"] == ["checkpoint"]
    assert simulated.operate().restored_from == path


def test_one_that_has_come_to_nothing_begins_again_where_its_group_stands(simulated, abandoned):
    simulated.states.clear()
    before = simulated.place
    again = simulated.operate()
    assert again.restored_from is None
    assert simulated.prepared[-1][1]
    assert simulated.committed == {(TOPIC, 0): 7}
    assert simulated.place.state_path == before.state_path


def test_of_a_topic_that_was_made_anew_no_old_position_is_held_against_the_job(simulated):
    simulated.deploy()
    simulated.checkpoint(simulated.place.flink_job_id, position=5_000)
    simulated.ends = {(TOPIC, 0): Offsets(0, 10)}
    with pytest.raises(RefusedError, match="the topic was made anew"):
        simulated.plan(overrides={"least": 1})
    started = simulated.operate(overrides={"least": 1}, mode="stateless", approved=True)
    assert (started.positions, simulated.committed) == ({}, {})


def test_what_the_topic_still_has_is_held_against_it(simulated):
    simulated.deploy()
    started = simulated.operate(overrides={"least": 1}, mode="stateless", approved=True)
    assert started.positions == {TOPIC: {"0": 7}}


@pytest.mark.parametrize("told", [None, "CheckpointException: The job has failed."])
def test_a_job_that_fails_while_it_stops_hands_over_by_a_checkpoint_which_is_called_one(simulated, told):
    first = simulated.deploy()
    path = simulated.checkpoint(first.flink_job_id)
    simulated.fails_while_stopping, simulated.savepoint_fails = True, told
    started = simulated.operate(overrides={"least": 1})
    assert (started.restored_from, started.savepoint) == (path, None)
    assert simulated.ledger.savepoints("counts") == []
    assert "it ended before its savepoint was complete: its newest checkpoint takes the place of that" in simulated.told
