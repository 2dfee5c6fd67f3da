"""The plan of a replay in words, and in the ledger."""

from datetime import timedelta
from types import SimpleNamespace

import pytest

from sluice.errors import BusyError, OperationError, RefusedError
from sluice.ledger.chunk_scheduling import ChunkLimits
from sluice.ledger.ledger import Ledger
from sluice.replay.model import ReplayPlan, explain_replay
from sluice.replay.preflight import target_of
from tests.unit.replay.plans import plan


def test_the_plan_says_what_it_costs():
    lines = explain_replay(plan(seconds=90.0, overrides={"window": "2min"}))
    assert lines[0] == (
        "counts is replayed from 2026-01-31 12:00:00 to 2026-01-31 14:00:00 UTC by release 3: 2 chunks, 2 at once"
    )
    assert lines[1] == "  reads at most 300 records; about 90 s at the speed of its last replay"
    assert "  takes 2 of 7 free task slots" in lines
    assert "  with window=2min" in lines
    assert "nobody knows yet how long" in explain_replay(plan())[1]


def test_it_comes_back_from_json_as_it_was():
    assert ReplayPlan.model_validate(plan().model_dump(mode="json")) == plan()


@pytest.fixture
def replays(tmp_path):
    replays = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "test").replays
    names = [chunk.name for chunk in plan().chunks]
    replays.add(plan().id, "counts", "one", 3, plan().model_dump(mode="json"), names, "why")
    return replays


def test_a_holder_goes_on_with_its_own(replays):
    assert replays.unfinished("counts", "one").id == plan().id
    assert replays.unfinished("counts", "another") is None
    replays.ended(plan().id, "completed", {"rows": 1})
    assert replays.unfinished("counts", "one") is None


LIMITS = ChunkLimits(replay=1, job=4)


def begun(replays, number=1, taker="one"):
    assert replays.take_turn(plan().id, number, taker, LIMITS)
    return replays.submitting(plan().id, number, taker)


def has_come(replays, *place, **more):
    return replays.turn(*place, **more).has_come


def test_the_id_is_there_before_anything_is_submitted(replays):
    chosen = begun(replays)
    row = replays.chunk(plan().id, 1)
    assert (row.flink_job_id, row.state, row.attempt) == (chosen, "running", 1)
    assert replays.running() == {chosen}
    replays.chunk_ended(plan().id, 1, "failed", flink_job_id=chosen, reason="lost")
    assert replays.running() == frozenset()
    again = begun(replays)
    assert again != chosen
    assert replays.chunk(plan().id, 1).attempt == 2
    # What a former attempt has to say comes too late.
    replays.chunk_ended(plan().id, 1, "failed", flink_job_id=chosen)
    assert replays.chunk(plan().id, 1).state == "running"


def test_only_who_has_taken_a_chunk_submits_it(replays):
    assert replays.take_turn(plan().id, 1, "one", LIMITS)
    assert replays.take_turn(plan().id, 1, "one", LIMITS)
    assert not replays.take_turn(plan().id, 1, "two", LIMITS)
    with pytest.raises(BusyError, match="no longer assigned to two"):
        replays.submitting(plan().id, 1, "two")
    assert replays.take_turn(plan().id, 1, "two", LIMITS, is_gone=lambda taker: taker == "one")
    with pytest.raises(BusyError):
        replays.submitting(plan().id, 1, "one")


def test_chunks_wait_for_their_turn_within_a_replay_and_among_those_of_a_job(replays):
    other = "e" * 32
    elsewhere = plan(outputs={"counts": "elsewhere"}).model_dump(mode="json")
    replays.add(other, "counts", "two", 3, elsewhere, ["a", "b", "c"], None)
    wide = ChunkLimits(replay=2, job=3)
    running = begun(replays)
    assert not has_come(replays, plan().id, 2, "one", LIMITS, alive={running})
    assert has_come(replays, plan().id, 2, "one", wide)
    assert replays.take_turn(plan().id, 2, "one", wide)
    assert replays.running_chunks("counts", {running}) == 2
    assert replays.take_turn(other, 1, "two", wide)
    assert not replays.take_turn(other, 2, "two", wide)
    replays.ended(other, "cancelled")
    # Time to look: there is nothing to wait for any more.
    assert replays.turn(other, 2, "two", wide).is_over
    with pytest.raises(RefusedError, match="was cancelled"):
        replays.take_turn(other, 2, "two", wide)
    # Only somebody who means it goes on with it.
    with pytest.raises(RefusedError, match="was cancelled"):
        replays.reopen(other)
    replays.reopen(other, "three")
    assert (replays.find(other).outcome, replays.find(other).holder) == (None, "three")


def test_what_comes_first_of_cancelled_and_completed_stays(replays):
    """A report takes minutes, in which somebody may end the replay."""
    replays.ended(plan().id, "cancelled")
    with pytest.raises(RefusedError, match="was cancelled"):
        replays.ended(plan().id, "completed", {"rows": 1})
    replays.reopen(plan().id, "one")
    replays.ended(plan().id, "completed", {"rows": 1})
    with pytest.raises(RefusedError, match="has completed and can't be cancelled"):
        replays.ended(plan().id, "cancelled")


def test_what_a_late_watcher_has_seen_changes_nothing(replays):
    """The cluster forgets what it ran: by then another one has recorded how it ended."""
    flink_job_id = begun(replays)
    replays.chunk_ended(plan().id, 1, "finished", flink_job_id=flink_job_id, records=7)
    replays.chunk_ended(plan().id, 1, "failed", flink_job_id=flink_job_id, reason="unknown to the cluster")
    row = replays.chunk(plan().id, 1)
    assert (row.state, row.records, row.reason) == ("finished", 7, None)


def test_a_flink_job_that_has_ended_is_in_nobodys_way(replays, monkeypatch):
    flink_job_id = begun(replays)
    # It may be on its way; some time later it isn't.
    assert not has_come(replays, plan().id, 2, "one", LIMITS)
    monkeypatch.setattr("sluice.ledger.chunk_scheduling.SUBMITTING", timedelta(0))
    assert not has_come(replays, plan().id, 2, "one", LIMITS, alive={flink_job_id})
    assert has_come(replays, plan().id, 2, "one", LIMITS)


def test_a_flink_job_that_runs_is_there_to_be_found_and_no_turn_to_be_taken(replays, monkeypatch):
    flink_job_id = begun(replays)
    monkeypatch.setattr("sluice.ledger.chunk_scheduling.SUBMITTING", timedelta(0))
    assert replays.turn(plan().id, 1, "two", LIMITS, alive={flink_job_id}).is_over
    assert not replays.take_turn(plan().id, 1, "two", LIMITS, alive={flink_job_id})
    assert replays.take_turn(plan().id, 1, "two", LIMITS)
    # What the former attempt has to say comes too late, though no other one has been submitted yet.
    replays.chunk_ended(plan().id, 1, "failed", flink_job_id=flink_job_id)
    assert replays.chunk(plan().id, 1).state == "starting"


def test_records_are_summed_at_the_end(replays):
    for number, records in ((1, 120), (2, 30)):
        flink_job_id = begun(replays, number)
        replays.read(plan().id, number, 7)
        replays.chunk_ended(plan().id, number, "finished", flink_job_id=flink_job_id, records=records)
    replays.ended(plan().id, "completed")
    assert replays.find("abcd").records == 150


def test_an_id_that_is_not_one_is_refused(replays):
    with pytest.raises(OperationError, match="has no replay zz"):
        replays.find("zz")
    second = "abcd" + "0" * 28
    replays.add(second, "counts", "two", 3, plan(outputs={}).model_dump(mode="json"), [], None)
    with pytest.raises(OperationError, match="several replays abcd"):
        replays.find("abcd")
    assert replays.find(second[:6]).id == second


def test_what_runs_of_the_release_gave_is_known_to_who_compiles_a_chunk():
    given = {"number": 3, "fingerprint": "f", "artifact": "a", "module": "m", "resolved": {}}
    release = SimpleNamespace(**given, overrides={"key": "of-a-run", "window": "1min"})
    target = target_of(plan(overrides={"window": "2min"}), release)
    assert target.overrides == {"key": "of-a-run", "window": "2min"}
