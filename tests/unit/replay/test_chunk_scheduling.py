"""Which chunk may be claimed: within the concurrency limits, and never with slots that another one is about to take."""

from concurrent.futures import ThreadPoolExecutor

import pytest

from sluice.ledger.chunk_scheduling import ChunkLimits, SlotDemand
from sluice.ledger.ledger import Ledger
from tests.simulator.clock import SimulatedClock
from tests.unit.replay.plans import plan

ONE, OTHER = "a" * 32, "b" * 32
WIDE = ChunkLimits(replay=9, job=9)


@pytest.fixture
def clock():
    return SimulatedClock()


@pytest.fixture
def replays(url, clock):
    """Two replays, of a job each, whose chunks take two slots."""
    replays = Ledger(url, "test", clock=clock).replays
    for replay, job in ((ONE, "counts"), (OTHER, "sums")):
        kept = plan(parallelism=2, outputs={"rows": f"{job}.again"}).model_dump(mode="json")
        replays.add(replay, job, f"run of {job}", 1, kept, [f"{job}.1", f"{job}.2", f"{job}.3"], None)
    return replays


def test_two_chunks_of_different_jobs_cannot_claim_the_same_free_slots(replays):
    assert replays.claim(ONE, 1, "x", WIDE, slots=SlotDemand(2, 3))
    assert replays.pending_slots(OTHER, 1, ()) == 2
    # Both takers read the same number of free slots before either claimed.
    assert not replays.claim(OTHER, 1, "y", WIDE, slots=SlotDemand(2, 3))
    assert replays.claim(OTHER, 1, "y", WIDE, slots=SlotDemand(2, 4))


def test_slots_of_a_job_submitted_seconds_ago_count_as_pending(replays, clock):
    assert replays.claim(ONE, 1, "x", WIDE)
    job = replays.submitting(ONE, 1, "x")
    assert replays.pending_slots(ONE, 2, {job}) == 2
    clock.sleep(11)
    assert replays.pending_slots(ONE, 2, {job}) == 0
    assert replays.claim(ONE, 2, "x", WIDE, alive={job}, slots=SlotDemand(2, 2))


def test_queue_position_counts_waiting_chunks_with_lower_numbers(replays):
    assert [replays.queue_position(ONE, number, "x", WIDE).before for number in (1, 2, 3)] == [0, 1, 2]
    assert replays.claim(ONE, 1, "x", WIDE)
    assert [replays.queue_position(ONE, number, "x", WIDE).before for number in (2, 3)] == [0, 1]


def finish(replays, replay, *numbers):
    for number in numbers:
        assert replays.claim(replay, number, "x", WIDE)
        job = replays.submitting(replay, number, "x")
        replays.chunk_ended(replay, number, "finished", flink_job_id=job)


def test_a_finished_chunk_or_completed_replay_cannot_be_claimed(replays):
    finish(replays, ONE, 2)
    assert replays.queue_position(ONE, 2, "y", WIDE).is_over
    assert not replays.claim(ONE, 2, "y", WIDE)
    assert replays.chunk(ONE, 2).state == "finished"
    finish(replays, ONE, 1, 3)
    replays.ended(ONE, "completed", {"rows": 3})
    assert not replays.claim(ONE, 1, "y", WIDE)
    assert replays.find(ONE).outcome == "completed"


def test_a_chunk_claimed_later_does_not_delay_one_claimed_earlier(replays):
    """Otherwise chunks that compile at the same time would all wait for each other."""
    assert replays.claim(ONE, 1, "x", WIDE)
    assert replays.claim(OTHER, 1, "y", WIDE)
    assert (replays.pending_slots(ONE, 1, ()), replays.pending_slots(OTHER, 1, ())) == (0, 2)
    # A submitted Flink job that has no slots yet counts for both.
    job = replays.submitting(OTHER, 1, "y")
    assert replays.pending_slots(ONE, 1, {job}) == 2


def test_a_claimed_chunk_given_back_waits_again(replays):
    assert replays.claim(ONE, 1, "x", WIDE)
    replays.give_back(ONE, 1, "y")
    assert replays.chunk(ONE, 1).state == "starting"
    replays.give_back(ONE, 1, "x")
    row = replays.chunk(ONE, 1)
    assert (row.state, row.taker, row.attempt) == ("waiting", None, 0)
    assert replays.claim(ONE, 1, "y", WIDE)


def test_queue_position_names_the_taker_and_counts_busy_chunks(replays):
    assert replays.claim(ONE, 1, "x", WIDE)
    turn = replays.queue_position(ONE, 1, "y", WIDE)
    assert (turn.taker, turn.may_start) == ("x", False)
    turn = replays.queue_position(ONE, 2, "y", ChunkLimits(replay=1, job=9))
    assert (turn.taker, turn.may_start, turn.busy, turn.busy_here) == (None, False, 1, 1)


def test_running_a_chunk_again_reopens_a_completed_replay(replays):
    finish(replays, ONE, 1, 2, 3)
    replays.ended(ONE, "completed", {"rows": 3})
    replays.reopen(ONE)
    assert replays.find(ONE).outcome == "completed"
    replays.run_again(ONE, 2)
    assert replays.claim(ONE, 2, "x", WIDE)
    found = replays.find(ONE)
    assert (found.outcome, found.ended_at, found.report) == (None, None, {"rows": 3})
    assert [replay.id for replay in replays.unfinished_ones()] == sorted([ONE, OTHER])


def test_concurrent_claims_never_exceed_the_free_slots(replays):
    """Also for chunks of replays that had failed and are reopened by the claim."""
    replays.ended(ONE, "failed")
    replays.ended(OTHER, "failed")
    asked = [(replay, number) for replay in (ONE, OTHER) for number in (1, 2, 3)]
    with ThreadPoolExecutor(len(asked)) as pool:
        taken = list(pool.map(lambda place: replays.claim(*place, "x", WIDE, slots=SlotDemand(2, 5)), asked))
    assert sum(taken) == 2


def test_a_failed_replay_is_resumed_and_a_cancelled_one_is_not(replays):
    replays.ended(ONE, "failed")
    assert replays.unfinished("counts", "run of counts").id == ONE
    replays.reopen(ONE)
    replays.ended(ONE, "cancelled")
    replays.ended(ONE, "failed")
    assert replays.find(ONE).outcome == "cancelled"
    assert replays.unfinished("counts", "run of counts") is None
