"""The state that a rollback restores, and that it starts the former release once."""

import httpx
import pytest

from sluice.errors import FlinkError, OperationError
from sluice.flink import stale_metrics
from tests.simulator.simulated import TOPIC, Died
from tests.support.placing import Columns


def test_former_release_gets_its_own_state_back_from_a_stateless_release(simulated):
    simulated.deploy()
    bad = simulated.operate("crashed", overrides={"hours": 2}, approved=True)
    simulated.cluster.checkpoint(bad.flink_job_id, position=900)
    found = simulated.operate()
    assert found.unchanged
    back = simulated.roll_back(found.operation)
    assert back.outcome == "rolled_back"
    assert simulated.place.restored_from == bad.savepoint
    assert "Release 2 completed 1 checkpoint: its output since the savepoint stays in the topics" in back.words


def test_former_release_gets_its_state_back_from_one_without_a_checkpoint(simulated):
    simulated.deploy()
    bad = simulated.operate("crashed", overrides={"hours": 2}, approved=True)
    simulated.roll_back(simulated.operate().operation)
    assert simulated.place.restored_from == bad.savepoint


def test_unverified_release_with_compatible_state_hands_over_its_newest(simulated):
    simulated.deploy()
    bad = simulated.operate("crashed", overrides={"least": 1})
    back = simulated.roll_back(simulated.operate().operation)
    assert simulated.place.restored_from == simulated.cluster.newest_checkpoints[bad.flink_job_id]
    assert "It continues from the newest checkpoint of release 2" in back.words


def test_incompatible_newest_state_is_detected_before_the_job_is_cancelled(simulated):
    simulated.compiler.compiles_to = {1: ("Window", "More")}
    simulated.deploy()
    bad = simulated.operate("crashed", overrides={"least": 1})
    simulated.cluster.checkpoint(bad.flink_job_id, "Window", "More")
    back = simulated.roll_back(simulated.operate().operation)
    assert simulated.place.restored_from == bad.savepoint
    assert "Release 1 can't use the newest state of release 2. Release 2 completed 1 checkpoint:" in back.words


def test_job_keeps_running_if_the_former_release_can_use_no_state(simulated):
    simulated.compiler.compiles_to = {1: ("Window", "More")}
    simulated.deploy()
    bad = simulated.operate("crashed", overrides={"least": 1})
    simulated.cluster.checkpoint(bad.flink_job_id, "Window", "More")
    simulated.cluster.snapshots[bad.savepoint] = simulated.cluster.snapshots[
        simulated.cluster.newest_checkpoints[bad.flink_job_id]
    ]
    back = simulated.roll_back(simulated.operate().operation)
    assert back.outcome == "failed"
    assert simulated.cluster.running_jobs() == [bad.flink_job_id]


@pytest.mark.parametrize("dies_at", ["before", "after"])
def test_rollback_that_crashed_at_its_submission_submits_once(simulated, dies_at):
    simulated.deploy()
    bad = simulated.operate(overrides={"least": 1})
    simulated.cluster.checkpoint(bad.flink_job_id)
    simulated.cluster.dies_at_submit = dies_at
    with pytest.raises(Died):
        simulated.roll_back(bad.operation)
    simulated.cluster.dies_at_submit = None
    journalled = simulated.place.flink_job_id
    back = simulated.roll_back(bad.operation)
    assert (back.outcome, back.flink_job_id) == ("rolled_back", journalled)
    assert simulated.cluster.running_jobs() == [journalled]
    assert [order.savepoint for order in simulated.cluster.submissions if order.flink_job_id == journalled] == [
        bad.savepoint
    ]
    assert "Release 2 completed 1 checkpoint:" in back.words


def test_crashed_rollback_of_a_release_that_never_started_submits_once(simulated):
    simulated.deploy()
    simulated.cluster.submit_errors = [FlinkError("no")]
    with pytest.raises(FlinkError):
        simulated.operate(overrides={"least": 1})
    operation = simulated.ledger.active("counts").id
    # The last entry of the journal is the stop.
    simulated.ledger.resume(operation).record("x", "y", transition=Columns({"phase": "stopped", "release": 1}))
    simulated.cluster.dies_at_submit = "after"
    with pytest.raises(Died):
        simulated.roll_back(operation)
    simulated.cluster.dies_at_submit = None
    [journalled] = simulated.cluster.running_jobs()
    assert simulated.roll_back(operation).flink_job_id == journalled
    assert simulated.cluster.running_jobs() == [journalled]


def test_continued_rollback_reports_its_effect_on_the_output(simulated):
    simulated.deploy()
    bad = simulated.operate(overrides={"least": 1})
    simulated.cluster.checkpoint(bad.flink_job_id)
    with simulated.crash("after", "back cancel"):
        simulated.roll_back(bad.operation)
    assert simulated.place.phase == "stopping"
    assert "Release 2 completed 1 checkpoint:" in simulated.roll_back(bad.operation).words


def test_rollback_of_a_job_without_state_returns_to_its_start_offsets(simulated):
    """Neither release has ever had state."""
    simulated.deploy()
    operation = simulated.operate(overrides={"least": 1}, mode="last-state")
    handle = simulated.ledger.resume(operation.operation)
    handle.record(
        "x",
        "y",
        transition=Columns(
            {"carried_over": True, "state_path": None, "restored_from": None, "positions": {TOPIC: {"0": 5}}}
        ),
    )
    simulated.roll_back(operation.operation)
    assert simulated.compiler.prepared[-1][1]
    assert simulated.committed == {(TOPIC, 0): 5}


def test_rollback_after_a_loss_does_not_restore_state_of_another_meaning(simulated):
    """The new release was lost and restarted from its own checkpoint, whose windows have another length."""
    simulated.deploy()
    bad = simulated.operate("crashed", overrides={"hours": 2}, approved=True)
    simulated.cluster.checkpoint(bad.flink_job_id)
    simulated.cluster.states.clear()
    again = simulated.operate()
    back = simulated.roll_back(again.operation)
    assert back.outcome == "failed"
    assert "release 1 can't use the state in" in back.words
    assert simulated.cluster.running_jobs() == [again.flink_job_id]


@pytest.mark.parametrize("mode", ["savepoint", "last-state"])
def test_rollback_restores_state_that_an_approved_deploy_altered(simulated, mode):
    simulated.deploy()
    bad = simulated.operate(overrides={"hours": 2}, mode=mode, approved=True)
    simulated.cluster.checkpoint(bad.flink_job_id, number=2)
    assert simulated.roll_back(bad.operation).outcome == "rolled_back"
    assert simulated.place.restored_from == bad.restored_from


@pytest.fixture
def second_unverified(simulated):
    """Release 3, with windows as in release 1, after release 2, with longer windows; neither was verified."""
    simulated.deploy()
    for number, hours in enumerate((2, 1), 2):
        simulated.cluster.checkpoint(simulated.place.flink_job_id)
        bad = simulated.operate(f"crashed {number}", overrides={"hours": hours, "least": number}, approved=True)
    return bad


def test_rollback_refuses_state_of_an_intermediate_release_of_another_meaning(simulated, second_unverified):
    """The last abandoned state is of windows of two hours, which only release 2 has."""
    found = simulated.operate("next")
    assert (found.release, simulated.ledger.active("counts").former_release) == (3, 1)
    back = simulated.roll_back(found.operation)
    assert back.outcome == "failed"
    assert f"release 1 can't use the state in {second_unverified.savepoint}" in back.words
    assert simulated.cluster.running_jobs() == [found.flink_job_id]


def test_operation_rolls_back_to_the_unverified_release_that_it_stopped(simulated, second_unverified):
    assert simulated.roll_back(second_unverified.operation).outcome == "rolled_back"
    assert (simulated.place.release, simulated.place.restored_from) == (2, second_unverified.savepoint)


def test_rollback_restores_state_of_an_intermediate_release_of_equal_meaning(simulated):
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    simulated.ledger.resume(simulated.operate("crashed", overrides={"least": 2}).operation).finish("failed")
    simulated.cluster.checkpoint(simulated.place.flink_job_id)
    bad = simulated.operate("crashed", overrides={"hours": 2}, approved=True)
    assert simulated.roll_back(simulated.operate("next").operation).outcome == "rolled_back"
    assert (simulated.place.release, simulated.place.restored_from) == (2, bad.savepoint)


def test_checkpoint_belongs_to_the_release_of_the_flink_job_that_made_it(simulated):
    """Release 1 was lost; the unverified release 2 started without state, from the positions of its checkpoint."""
    first = simulated.deploy()
    path = simulated.cluster.checkpoint(first.flink_job_id)
    simulated.cluster.states.clear()
    bad = simulated.operate("crashed", overrides={"hours": 2}, mode="stateless", approved=True)
    assert (simulated.place.state_path, bad.restored_from) == (path, None)
    simulated.cluster.checkpoint(bad.flink_job_id, number=2)
    assert simulated.roll_back(simulated.operate("next").operation).outcome == "rolled_back"
    assert (simulated.place.release, simulated.place.restored_from) == (1, path)


def test_checkpoint_that_is_deleted_while_it_is_read_does_not_stop_a_rollback(simulated):
    simulated.deploy()
    simulated.operate("crashed", overrides={"least": 1})
    found = simulated.operate()
    simulated.compiler.inspect_errors = [OperationError("chk-1 does not exist")] * 2
    assert simulated.roll_back(found.operation).outcome == "rolled_back"


def test_lost_job_is_started_again_instead_of_being_rolled_back(simulated):
    """A rollback to the savepoint would write again what its checkpoints have committed."""
    simulated.deploy()
    started = simulated.operate(overrides={"least": 1})
    newest = simulated.cluster.checkpoint(started.flink_job_id, position=900)
    simulated.cluster.states.clear()  # the JobManager was restarted without high availability
    back = simulated.roll_back(started.operation)
    assert (back.outcome, simulated.cluster.running_jobs()) == ("failed", [back.flink_job_id])
    assert f"release 2 was started again from {newest}: no record is lost or written twice" in back.words
    assert (simulated.place.release, simulated.place.restored_from) == (2, newest)
    # The release is unverified: the next deploy verifies it, and could roll it back.
    assert simulated.operate("next").unchanged


@pytest.mark.parametrize("dies_at", ["before", "after"])
def test_lost_job_is_started_once_even_if_the_rollback_crashes(simulated, dies_at):
    simulated.deploy()
    started = simulated.operate(overrides={"least": 1})
    newest = simulated.cluster.checkpoint(started.flink_job_id)
    simulated.cluster.states.clear()
    simulated.cluster.dies_at_submit = dies_at
    with pytest.raises(Died):
        simulated.roll_back(started.operation)
    simulated.cluster.dies_at_submit = None
    journalled = simulated.place.flink_job_id
    back = simulated.roll_back(started.operation)
    assert (back.flink_job_id, simulated.cluster.running_jobs()) == (journalled, [journalled])
    assert (simulated.place.release, simulated.place.restored_from) == (2, newest)


def test_lost_first_release_is_started_again(simulated):
    started = simulated.operate()
    newest = simulated.cluster.checkpoint(started.flink_job_id)
    simulated.cluster.states.clear()
    back = simulated.roll_back(started.operation)
    assert (simulated.cluster.running_jobs(), simulated.place.restored_from) == ([back.flink_job_id], newest)


def test_release_is_not_rolled_back_while_the_metrics_are_stale(simulated):
    simulated.deploy()
    started = simulated.operate(overrides={"least": 1})
    simulated.cluster.checkpoint(started.flink_job_id)
    simulated.cluster.metrics_are_stale = True
    back = simulated.roll_back(started.operation)
    assert (back.outcome, simulated.cluster.running_jobs()) == ("failed", [started.flink_job_id])
    assert "the metrics of the cluster are stale, so the job can't be verified: it keeps running" in back.words
    assert "Deploy again in 600.0 s (web.timeout), or after a restart of the JobManager" in back.words
    simulated.cluster.metrics_are_stale = False
    assert simulated.operate("next").unchanged


def test_release_without_a_checkpoint_is_rolled_back_despite_stale_metrics(simulated):
    simulated.deploy()
    started = simulated.operate(overrides={"least": 1})
    simulated.cluster.metrics_are_stale = True
    assert simulated.roll_back(started.operation).outcome == "rolled_back"


def test_metrics_that_are_updated_slowly_are_not_stale(simulated):
    """Each answer takes longer than two fetches."""

    def answer_late():
        simulated.clock.sleep(60)
        metric = {"id": "Status.JVM.CPU.Time", "value": str(simulated.clock.waited)}
        return httpx.Response(200, json=[metric])

    simulated.cluster.answers["GET /jobmanager/metrics"] = answer_late
    assert not stale_metrics.metrics_are_stale(simulated.flink)
    simulated.cluster.answers.clear()
    simulated.cluster.metrics_are_stale = True
    assert stale_metrics.metrics_are_stale(simulated.flink)


def test_rollback_promises_nothing_for_sinks_that_the_pipeline_adds_itself(simulated):
    simulated.deploy()
    simulated.compiler.extra_sinks = ("look (DataStream.print)",)
    started = simulated.operate(overrides={"least": 1})
    back = simulated.roll_back(started.operation)
    assert back.outcome == "rolled_back"
    assert "output of release 2 to look (DataStream.print) (at-least-once) is duplicated; nothing is lost" in back.words
