"""Which state the former release goes on from, and that it does so once."""

import pytest

from sluice.errors import FlinkError, OperationError
from sluice.flink import stale_metrics
from tests.support.simulated import TOPIC, Died


def test_from_an_unproven_release_that_began_without_state_the_former_one_gets_its_own_back(simulated):
    simulated.deploy()
    bad = simulated.operate("gone", overrides={"hours": 2}, approved=True)
    simulated.checkpoint(bad.flink_job_id, position=900)
    found = simulated.operate()
    assert found.unchanged
    back = simulated.roll_back(found.operation)
    assert back.outcome == "rolled_back"
    assert simulated.place.restored_from == bad.savepoint
    assert "It completed 1 checkpoints: what it wrote since the savepoint stands there" in back.words


def test_so_it_does_where_that_release_has_no_checkpoint(simulated):
    simulated.deploy()
    bad = simulated.operate("gone", overrides={"hours": 2}, approved=True)
    simulated.roll_back(simulated.operate().operation)
    assert simulated.place.restored_from == bad.savepoint


def test_an_unproven_release_with_all_state_hands_over_its_newest(simulated):
    simulated.deploy()
    bad = simulated.operate("gone", overrides={"least": 1})
    back = simulated.roll_back(simulated.operate().operation)
    assert simulated.place.restored_from == simulated.completed[bad.flink_job_id]
    assert "It hands over by its newest checkpoint" in back.words


def test_state_that_the_former_release_can_not_take_is_seen_before_anything_ends(simulated):
    simulated.compiles_to = {1: ("Window", "More")}
    simulated.deploy()
    bad = simulated.operate("gone", overrides={"least": 1})
    simulated.checkpoint(bad.flink_job_id, "Window", "More")
    back = simulated.roll_back(simulated.operate().operation)
    assert simulated.place.restored_from == bad.savepoint
    assert "Its newest state holds what release 1 does not take. It completed 1 checkpoints" in back.words


def test_where_no_state_fits_what_runs_is_left(simulated):
    simulated.compiles_to = {1: ("Window", "More")}
    simulated.deploy()
    bad = simulated.operate("gone", overrides={"least": 1})
    simulated.checkpoint(bad.flink_job_id, "Window", "More")
    simulated.files[bad.savepoint] = simulated.files[simulated.completed[bad.flink_job_id]]
    back = simulated.roll_back(simulated.operate().operation)
    assert back.outcome == "failed"
    assert simulated.alive() == [bad.flink_job_id]


@pytest.mark.parametrize("dies_at", ["before", "after"])
def test_one_that_died_at_the_submission_of_the_former_release_submits_it_once(simulated, dies_at):
    simulated.deploy()
    bad = simulated.operate(overrides={"least": 1})
    simulated.checkpoint(bad.flink_job_id)
    simulated.dies_at = dies_at
    with pytest.raises(Died):
        simulated.roll_back(bad.operation)
    simulated.dies_at = None
    journalled = simulated.place.flink_job_id
    back = simulated.roll_back(bad.operation)
    assert (back.outcome, back.flink_job_id) == ("rolled_back", journalled)
    assert simulated.alive() == [journalled]
    assert [order.savepoint for order in simulated.orders if order.flink_job_id == journalled] == [bad.savepoint]
    assert "It completed 1 checkpoints" in back.words


def test_so_it_does_where_the_new_release_was_never_started(simulated):
    simulated.deploy()
    simulated.refuses = [FlinkError("no")]
    with pytest.raises(FlinkError):
        simulated.operate(overrides={"least": 1})
    operation = simulated.ledger.active("counts").id
    # The stop is what the journal tells of last.
    simulated.ledger.resume(operation).record("x", "y", place={"phase": "stopped", "release": 1})
    simulated.dies_at = "after"
    with pytest.raises(Died):
        simulated.roll_back(operation)
    simulated.dies_at = None
    [journalled] = simulated.alive()
    assert simulated.roll_back(operation).flink_job_id == journalled
    assert simulated.alive() == [journalled]


def test_what_it_meant_is_told_by_the_attempt_that_ends_it(simulated, monkeypatch):
    simulated.deploy()
    bad = simulated.operate(overrides={"least": 1})
    simulated.checkpoint(bad.flink_job_id)

    def dies(*_arguments):
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr("sluice.operation.roll_back.Stop.complete", dies)
        with pytest.raises(Died):
            simulated.roll_back(bad.operation)
    assert simulated.place.phase == "stopping"
    assert "It completed 1 checkpoints" in simulated.roll_back(bad.operation).words


def test_a_release_that_came_to_nothing_gives_its_offsets_back(simulated):
    """Neither of the two has ever had any state."""
    simulated.deploy()
    operation = simulated.operate(overrides={"least": 1}, mode="last-state")
    handle = simulated.ledger.resume(operation.operation)
    handle.record(
        "x",
        "y",
        place={"carried_over": True, "state_path": None, "restored_from": None, "positions": {TOPIC: {"0": 5}}},
    )
    simulated.roll_back(operation.operation)
    assert simulated.prepared[-1][1]
    assert simulated.committed == {(TOPIC, 0): 5}


def test_state_of_another_meaning_is_not_handed_back_after_a_loss(simulated):
    """The new release was lost and came back from its own checkpoint, whose windows are not the former one's."""
    simulated.deploy()
    bad = simulated.operate("gone", overrides={"hours": 2}, approved=True)
    simulated.checkpoint(bad.flink_job_id)
    simulated.states.clear()
    again = simulated.operate()
    back = simulated.roll_back(again.operation)
    assert back.outcome == "failed"
    assert "release 1 can't take the state of" in back.words
    assert simulated.alive() == [again.flink_job_id]


@pytest.mark.parametrize("mode", ["savepoint", "last-state"])
def test_state_that_was_knowingly_given_to_another_meaning_is_given_back(simulated, mode):
    simulated.deploy()
    bad = simulated.operate(overrides={"hours": 2}, mode=mode, approved=True)
    simulated.checkpoint(bad.flink_job_id, number=2)
    assert simulated.roll_back(bad.operation).outcome == "rolled_back"
    assert simulated.place.restored_from == bad.restored_from


@pytest.fixture
def second_unproven(simulated):
    """Release 3, of windows of the first one's length, after release 2, of another; neither was ever proven."""
    simulated.deploy()
    for number, hours in enumerate((2, 1), 2):
        simulated.checkpoint(simulated.place.flink_job_id)
        bad = simulated.operate(f"gone {number}", overrides={"hours": hours, "least": number}, approved=True)
    return bad


def test_state_of_an_unproven_release_in_between_is_not_handed_to_one_that_means_something_else(
    simulated, second_unproven
):
    """What was abandoned last is of windows of two hours, which neither of the others has."""
    found = simulated.operate("next")
    assert (found.release, simulated.ledger.active("counts").former_release) == (3, 1)
    back = simulated.roll_back(found.operation)
    assert back.outcome == "failed"
    assert f"release 1 can't take the state of {second_unproven.savepoint}" in back.words
    assert simulated.alive() == [found.flink_job_id]


def test_the_operation_that_stopped_it_goes_back_to_it(simulated, second_unproven):
    assert simulated.roll_back(second_unproven.operation).outcome == "rolled_back"
    assert (simulated.place.release, simulated.place.restored_from) == (2, second_unproven.savepoint)


def test_state_of_one_in_between_that_means_the_same_is_handed_over(simulated):
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    simulated.ledger.resume(simulated.operate("gone", overrides={"least": 2}).operation).finish("failed")
    simulated.checkpoint(simulated.place.flink_job_id)
    bad = simulated.operate("gone", overrides={"hours": 2}, approved=True)
    assert simulated.roll_back(simulated.operate("next").operation).outcome == "rolled_back"
    assert (simulated.place.release, simulated.place.restored_from) == (2, bad.savepoint)


def test_a_checkpoint_is_of_the_release_whose_flink_job_made_it(simulated):
    """The first one died, and left its checkpoint to one that was never proven; the last began where that stood."""
    first = simulated.deploy()
    path = simulated.checkpoint(first.flink_job_id)
    simulated.states.clear()
    bad = simulated.operate("gone", overrides={"hours": 2}, mode="stateless", approved=True)
    assert (simulated.place.state_path, bad.restored_from) == (path, None)
    simulated.checkpoint(bad.flink_job_id, number=2)
    assert simulated.roll_back(simulated.operate("next").operation).outcome == "rolled_back"
    assert (simulated.place.release, simulated.place.restored_from) == (1, path)


def test_a_checkpoint_that_gives_way_to_a_newer_one_while_it_is_read_is_no_reason_to_stay(simulated):
    simulated.deploy()
    simulated.operate("gone", overrides={"least": 1})
    found = simulated.operate()
    simulated.vanishes = [OperationError("chk-1 does not exist")] * 2
    assert simulated.roll_back(found.operation).outcome == "rolled_back"


def test_a_job_that_the_cluster_has_lost_starts_again_and_gives_way_to_nobody(simulated):
    """Going back to the savepoint would write again what its checkpoints have committed."""
    simulated.deploy()
    started = simulated.operate(overrides={"least": 1})
    newest = simulated.checkpoint(started.flink_job_id, position=900)
    simulated.states.clear()  # a JobManager that was restarted, and keeps no jobs
    back = simulated.roll_back(started.operation)
    assert (back.outcome, simulated.alive()) == ("failed", [back.flink_job_id])
    assert f"release 2 was started again from {newest}: no record is lost or written twice" in back.words
    assert (simulated.place.release, simulated.place.restored_from) == (2, newest)
    # Unproven: the next deploy proves it, and could go back.
    assert simulated.operate("next").unchanged


@pytest.mark.parametrize("dies_at", ["before", "after"])
def test_so_it_does_once_whatever_dies_meanwhile(simulated, dies_at):
    simulated.deploy()
    started = simulated.operate(overrides={"least": 1})
    newest = simulated.checkpoint(started.flink_job_id)
    simulated.states.clear()
    simulated.dies_at = dies_at
    with pytest.raises(Died):
        simulated.roll_back(started.operation)
    simulated.dies_at = None
    journalled = simulated.place.flink_job_id
    back = simulated.roll_back(started.operation)
    assert (back.flink_job_id, simulated.alive()) == (journalled, [journalled])
    assert (simulated.place.release, simulated.place.restored_from) == (2, newest)


def test_so_does_a_first_release_which_has_nothing_to_go_back_to(simulated):
    started = simulated.operate()
    newest = simulated.checkpoint(started.flink_job_id)
    simulated.states.clear()
    back = simulated.roll_back(started.operation)
    assert (simulated.alive(), simulated.place.restored_from) == ([back.flink_job_id], newest)


def test_a_cluster_whose_metrics_stand_still_says_nothing_against_a_release(simulated):
    simulated.deploy()
    started = simulated.operate(overrides={"least": 1})
    simulated.checkpoint(started.flink_job_id)
    simulated.stands_still = True
    back = simulated.roll_back(started.operation)
    assert (back.outcome, simulated.alive()) == ("failed", [started.flink_job_id])
    assert "the metrics of the cluster stand still" in back.words
    assert "Restart its JobManager, and deploy again, which proves it" in back.words
    simulated.stands_still = False
    assert simulated.operate("next").unchanged


def test_one_that_completes_no_checkpoint_goes_back_whatever_the_metrics_say(simulated):
    simulated.deploy()
    started = simulated.operate(overrides={"least": 1})
    simulated.stands_still = True
    assert simulated.roll_back(started.operation).outcome == "rolled_back"


def test_metrics_that_come_slowly_are_looked_at_twice(simulated, monkeypatch):
    monkeypatch.setattr(stale_metrics, "_SLACK", -1.0)
    assert not stale_metrics.metrics_are_stale(simulated.flink)
    simulated.stands_still = True
    assert stale_metrics.metrics_are_stale(simulated.flink)
