"""Which chunk may be started when: within the limits, the lower numbers first, and never with somebody else's slots."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from sluice.ledger.chunk_scheduling import ChunkLimits, Slots
from sluice.ledger.ledger import Ledger
from tests.unit.replay.plans import plan

ONE, OTHER = "a" * 32, "b" * 32
WIDE = ChunkLimits(replay=9, job=9)


@pytest.fixture
def replays(url):
    """Two replays, of a job each, whose chunks take two slots."""
    replays = Ledger(url, "test").replays
    for replay, job in ((ONE, "counts"), (OTHER, "sums")):
        kept = plan(parallelism=2, outputs={"rows": f"{job}.again"}).model_dump(mode="json")
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
    monkeypatch.setattr("sluice.ledger.chunk_scheduling._SETTLING", timedelta(0))
    assert replays.pending_slots(ONE, 2, {job}) == 0
    assert replays.take_turn(ONE, 2, "x", WIDE, alive={job}, slots=Slots(2, 2))


def test_a_chunk_that_waits_knows_how_many_go_before_it(replays):
    assert [replays.turn(ONE, number, "x", WIDE).before for number in (1, 2, 3)] == [0, 1, 2]
    assert replays.take_turn(ONE, 1, "x", WIDE)
    assert [replays.turn(ONE, number, "x", WIDE).before for number in (2, 3)] == [0, 1]


def finish(replays, replay, *numbers):
    for number in numbers:
        assert replays.take_turn(replay, number, "x", WIDE)
        job = replays.submitting(replay, number, "x")
        replays.chunk_ended(replay, number, "finished", flink_job_id=job)


def test_what_has_finished_meanwhile_is_nobodys_to_take(replays):
    """Who has waited for its turn takes none of a replay that has completed."""
    finish(replays, ONE, 2)
    assert replays.turn(ONE, 2, "y", WIDE).is_over
    assert not replays.take_turn(ONE, 2, "y", WIDE)
    assert replays.chunk(ONE, 2).state == "finished"
    finish(replays, ONE, 1, 3)
    replays.ended(ONE, "completed", {"rows": 3})
    assert not replays.take_turn(ONE, 1, "y", WIDE)
    assert replays.find(ONE).outcome == "completed"


def test_what_is_being_started_later_is_in_nobodys_way(replays):
    """Else those that are compiled at once would all wait for each other."""
    assert replays.take_turn(ONE, 1, "x", WIDE)
    assert replays.take_turn(OTHER, 1, "y", WIDE)
    assert (replays.pending_slots(ONE, 1, ()), replays.pending_slots(OTHER, 1, ())) == (0, 2)
    # What the cluster has got, but not given its slots yet, counts for both.
    job = replays.submitting(OTHER, 1, "y")
    assert replays.pending_slots(ONE, 1, {job}) == 2


def test_what_was_taken_and_found_no_room_waits_again(replays):
    assert replays.take_turn(ONE, 1, "x", WIDE)
    replays.give_back(ONE, 1, "y")
    assert replays.chunk(ONE, 1).state == "starting"
    replays.give_back(ONE, 1, "x")
    row = replays.chunk(ONE, 1)
    assert (row.state, row.taker, row.attempt) == ("waiting", None, 0)
    assert replays.take_turn(ONE, 1, "y", WIDE)


def test_who_waits_is_told_for_whom(replays):
    assert replays.take_turn(ONE, 1, "x", WIDE)
    turn = replays.turn(ONE, 1, "y", WIDE)
    assert (turn.taker, turn.has_come) == ("x", False)
    turn = replays.turn(ONE, 2, "y", ChunkLimits(replay=1, job=9))
    assert (turn.taker, turn.has_come, turn.busy, turn.busy_here) == (None, False, 1, 1)


def test_a_chunk_that_is_run_again_opens_its_replay(replays):
    finish(replays, ONE, 1, 2, 3)
    replays.ended(ONE, "completed", {"rows": 3})
    replays.reopen(ONE)
    assert replays.find(ONE).outcome == "completed"
    replays.run_again(ONE, 2)
    assert replays.take_turn(ONE, 2, "x", WIDE)
    found = replays.find(ONE)
    assert (found.outcome, found.ended_at, found.report) == (None, None, {"rows": 3})
    assert [replay.id for replay in replays.unfinished_ones()] == sorted([ONE, OTHER])


def test_of_many_that_take_at_once_no_more_are_let_than_may(replays):
    """The last slots are one chunk's, however many ask, and whichever replay of theirs has ended meanwhile."""
    replays.ended(ONE, "failed")
    replays.ended(OTHER, "failed")
    asked = [(replay, number) for replay in (ONE, OTHER) for number in (1, 2, 3)]
    with ThreadPoolExecutor(len(asked)) as pool:
        taken = list(pool.map(lambda place: replays.take_turn(*place, "x", WIDE, slots=Slots(2, 5)), asked))
    assert sum(taken) == 2


def test_what_has_failed_is_gone_on_with_and_what_was_cancelled_is_not(replays):
    replays.ended(ONE, "failed")
    assert replays.unfinished("counts", "run of counts").id == ONE
    replays.reopen(ONE)
    replays.ended(ONE, "cancelled")
    replays.ended(ONE, "failed")
    assert replays.find(ONE).outcome == "cancelled"
    assert replays.unfinished("counts", "run of counts") is None
