"""Which chunk may be started when: within the limits, the lower numbers first, and never with somebody else's slots."""

from datetime import timedelta

import pytest

from sluice.release.ledger import Ledger
from sluice.release.replays import Limits, Slots
from tests.unit.replay.plans import plan

ONE, OTHER = "a" * 32, "b" * 32
WIDE = Limits(replay=9, job=9)


@pytest.fixture
def replays(tmp_path):
    """Two replays, of a job each, whose chunks take two slots."""
    replays = Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "test").replays
    kept = plan(parallelism=2).model_dump(mode="json")
    for replay, job in ((ONE, "counts"), (OTHER, "sums")):
        replays.add(replay, job, f"run of {job}", 1, kept, [f"{job}.1", f"{job}.2", f"{job}.3"], None)
    return replays


def test_the_last_free_slots_are_one_chunks_whichever_job_it_replays(replays):
    assert replays.take_turn(ONE, 1, "x", WIDE, slots=Slots(2, 3))
    assert replays.pending_slots(OTHER, 1, ()) == 2
    # What the cluster said was free both have read before.
    assert not replays.take_turn(OTHER, 1, "y", WIDE, slots=Slots(2, 3))
    assert replays.take_turn(OTHER, 1, "y", WIDE, slots=Slots(2, 4))


def test_what_the_cluster_has_just_got_may_not_have_its_slots_yet(replays, monkeypatch):
    assert replays.take_turn(ONE, 1, "x", WIDE)
    job = replays.submitting(ONE, 1, "x")
    assert replays.pending_slots(ONE, 2, {job}) == 2
    monkeypatch.setattr("sluice.release.replays._SETTLING", timedelta(0))
    assert replays.pending_slots(ONE, 2, {job}) == 0
    assert replays.take_turn(ONE, 2, "x", WIDE, alive={job}, slots=Slots(2, 2))


def test_a_chunk_that_waits_knows_how_many_go_before_it(replays):
    assert [replays.turn(ONE, number, "x", WIDE).before for number in (1, 2, 3)] == [0, 1, 2]
    assert replays.take_turn(ONE, 1, "x", WIDE)
    assert [replays.turn(ONE, number, "x", WIDE).before for number in (2, 3)] == [0, 1]


def test_a_chunk_that_is_run_again_opens_its_replay(replays):
    replays.ended(ONE, "completed", {"rows": 3})
    replays.reopen(ONE)
    assert replays.find(ONE).outcome == "completed"
    assert replays.take_turn(ONE, 2, "x", WIDE)
    found = replays.find(ONE)
    assert (found.outcome, found.ended_at, found.report) == (None, None, {"rows": 3})
    assert [replay.id for replay in replays.unfinished_ones()] == sorted([ONE, OTHER])


def test_what_has_failed_is_gone_on_with_and_what_was_cancelled_is_not(replays):
    replays.ended(ONE, "failed")
    assert replays.unfinished("counts", "run of counts").id == ONE
    replays.reopen(ONE)
    replays.ended(ONE, "cancelled")
    replays.ended(ONE, "failed")
    assert replays.find(ONE).outcome == "cancelled"
    assert replays.unfinished("counts", "run of counts") is None
