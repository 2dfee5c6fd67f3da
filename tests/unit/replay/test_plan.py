"""The plan of a replay: as text, as JSON, and its replay and chunks in the ledger."""

from types import SimpleNamespace

import pytest

from sluice.errors import BusyError, OperationError, RefusedError
from sluice.ledger.chunk_scheduling import SUBMITTING, ChunkLimits
from sluice.ledger.ledger import Ledger
from sluice.replay.model import ReplayPlan, explain_replay
from sluice.replay.release import compile_target
from tests.simulator.clock import SimulatedClock
from tests.support.ledgers import new_ledger
from tests.unit.replay.plans import plan


def test_plan_names_its_records_duration_and_task_slots():
    lines = explain_replay(plan(seconds=90.0, overrides={"window": "2min"}))
    assert lines[0] == (
        "counts is replayed from 2026-01-31 12:00:00 to 2026-01-31 14:00:00 UTC by release 3: 2 chunks, 2 at once"
    )
    assert lines[1] == "  reads at most 300 records; about 90 s at the speed of its last replay"
    assert "  takes 2 of 7 free task slots" in lines
    assert "  with window=2min" in lines
    assert "duration unknown" in explain_replay(plan())[1]


def test_plan_survives_a_round_trip_through_json():
    assert ReplayPlan.model_validate(plan().model_dump(mode="json")) == plan()


@pytest.fixture
def clock():
    return SimulatedClock()


@pytest.fixture
def replays(tmp_path, clock):
    replays = Ledger(new_ledger(tmp_path), "test", clock=clock).replays
    names = [chunk.name for chunk in plan().chunks]
    replays.add(plan().id, "counts", "one", 3, plan().model_dump(mode="json"), names, "why")
    return replays


def test_unfinished_finds_the_holders_own_replay_until_it_completes(replays):
    assert replays.unfinished("counts", "one").id == plan().id
    assert replays.unfinished("counts", "another") is None
    replays.ended(plan().id, "completed", {"rows": 1})
    assert replays.unfinished("counts", "one") is None


LIMITS = ChunkLimits(replay=1, job=4)


def begun(replays, number=1, taker="one"):
    assert replays.claim(plan().id, number, taker, LIMITS)
    return replays.submitting(plan().id, number, taker)


def may_start(replays, *place, **more):
    return replays.queue_position(*place, **more).may_start


def test_flink_job_id_is_recorded_before_the_submission(replays):
    chosen = begun(replays)
    row = replays.chunk(plan().id, 1)
    assert (row.flink_job_id, row.state, row.attempt) == (chosen, "running", 1)
    assert replays.running() == {chosen}
    replays.chunk_ended(plan().id, 1, "failed", flink_job_id=chosen, reason="lost")
    assert replays.running() == frozenset()
    again = begun(replays)
    assert again != chosen
    assert replays.chunk(plan().id, 1).attempt == 2
    # The end of a former attempt, reported late, changes nothing.
    replays.chunk_ended(plan().id, 1, "failed", flink_job_id=chosen)
    assert replays.chunk(plan().id, 1).state == "running"


def test_only_the_taker_of_a_chunk_may_submit_it(replays):
    assert replays.claim(plan().id, 1, "one", LIMITS)
    assert replays.claim(plan().id, 1, "one", LIMITS)
    assert not replays.claim(plan().id, 1, "two", LIMITS)
    with pytest.raises(BusyError, match="no longer assigned to two"):
        replays.submitting(plan().id, 1, "two")
    assert replays.claim(plan().id, 1, "two", LIMITS, is_gone=lambda taker: taker == "one")
    with pytest.raises(BusyError):
        replays.submitting(plan().id, 1, "one")


def test_claims_respect_the_limits_of_the_replay_and_of_the_job(replays):
    other = "e" * 32
    elsewhere = plan(outputs={"counts": "elsewhere"}).model_dump(mode="json")
    replays.add(other, "counts", "two", 3, elsewhere, ["a", "b", "c"], None)
    wide = ChunkLimits(replay=2, job=3)
    running = begun(replays)
    assert not may_start(replays, plan().id, 2, "one", LIMITS, alive={running})
    assert may_start(replays, plan().id, 2, "one", wide)
    assert replays.claim(plan().id, 2, "one", wide)
    assert replays.running_chunks("counts", {running}) == 2
    assert replays.claim(other, 1, "two", wide)
    assert not replays.claim(other, 2, "two", wide)
    replays.ended(other, "cancelled")
    # Nothing to wait for any more.
    assert replays.queue_position(other, 2, "two", wide).is_over
    with pytest.raises(RefusedError, match="was cancelled"):
        replays.claim(other, 2, "two", wide)
    # Only a person resumes it, under a new holder.
    with pytest.raises(RefusedError, match="was cancelled"):
        replays.reopen(other)
    replays.reopen(other, "three")
    assert (replays.find(other).outcome, replays.find(other).holder) == (None, "three")


def test_of_cancelled_and_completed_the_first_outcome_stays(replays):
    """A report takes minutes, during which a person may cancel the replay."""
    replays.ended(plan().id, "cancelled")
    with pytest.raises(RefusedError, match="was cancelled"):
        replays.ended(plan().id, "completed", {"rows": 1})
    replays.reopen(plan().id, "one")
    replays.ended(plan().id, "completed", {"rows": 1})
    with pytest.raises(RefusedError, match="has completed and can't be cancelled"):
        replays.ended(plan().id, "cancelled")


def test_a_late_report_of_a_failure_does_not_change_a_finished_chunk(replays):
    """A cluster forgets ended jobs: a watcher that asks late sees an unknown job."""
    flink_job_id = begun(replays)
    replays.chunk_ended(plan().id, 1, "finished", flink_job_id=flink_job_id, records=7)
    replays.chunk_ended(plan().id, 1, "failed", flink_job_id=flink_job_id, reason="unknown to the cluster")
    row = replays.chunk(plan().id, 1)
    assert (row.state, row.records, row.reason) == ("finished", 7, None)


def test_an_ended_flink_job_does_not_count_against_the_limits(replays, clock):
    flink_job_id = begun(replays)
    # A young one counts: its submission may still arrive.
    assert not may_start(replays, plan().id, 2, "one", LIMITS)
    clock.sleep(SUBMITTING.total_seconds())
    assert not may_start(replays, plan().id, 2, "one", LIMITS, alive={flink_job_id})
    assert may_start(replays, plan().id, 2, "one", LIMITS)


def test_a_chunk_whose_flink_job_runs_cannot_be_claimed(replays, clock):
    flink_job_id = begun(replays)
    clock.sleep(SUBMITTING.total_seconds())
    assert replays.queue_position(plan().id, 1, "two", LIMITS, alive={flink_job_id}).is_over
    assert not replays.claim(plan().id, 1, "two", LIMITS, alive={flink_job_id})
    assert replays.claim(plan().id, 1, "two", LIMITS)
    # The end of the former attempt is ignored, though the new one isn't submitted yet.
    replays.chunk_ended(plan().id, 1, "failed", flink_job_id=flink_job_id)
    assert replays.chunk(plan().id, 1).state == "starting"


def test_an_ended_replay_has_the_sum_of_its_chunks_records(replays):
    for number, records in ((1, 120), (2, 30)):
        flink_job_id = begun(replays, number)
        replays.read(plan().id, number, 7)
        replays.chunk_ended(plan().id, number, "finished", flink_job_id=flink_job_id, records=records)
    replays.ended(plan().id, "completed")
    assert replays.find("abcd").records == 150


def test_find_refuses_unknown_and_ambiguous_ids(replays):
    with pytest.raises(OperationError, match="has no replay zz"):
        replays.find("zz")
    second = "abcd" + "0" * 28
    replays.add(second, "counts", "two", 3, plan(outputs={}).model_dump(mode="json"), [], None)
    with pytest.raises(OperationError, match="several replays abcd"):
        replays.find("abcd")
    assert replays.find(second[:6]).id == second


def test_compile_target_merges_overrides_of_release_and_replay():
    given = {"number": 3, "fingerprint": "f", "artifact": "a", "module": "m", "resolved": {}}
    release = SimpleNamespace(**given, overrides={"key": "of-a-run", "window": "1min"})
    target = compile_target(plan(overrides={"window": "2min"}), release)
    assert target.overrides == {"key": "of-a-run", "window": "2min"}
