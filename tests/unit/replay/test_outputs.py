"""Replays that would write the same rows into one topic: never side by side, never an older one over a newer one."""

import pytest

from sluice.errors import RefusedError
from sluice.ledger.chunk_scheduling import ChunkLimits
from sluice.ledger.ledger import Ledger
from tests.unit.replay.plans import hour, plan

WIDE = ChunkLimits(replay=9, job=9)


@pytest.fixture
def shared(url):
    return Ledger(url, "test").replays


def add(shared, letter, start=12, end=14, *, topic="beside", job="counts", **more):
    given = {"start": hour(start), "end": hour(end), "outputs": {"counts": topic}, "is_apart": True, **more}
    shared.add(letter * 32, job, letter, 1, plan(**given).model_dump(mode="json"), ["chunk"], None)
    return letter * 32


def write(shared, replay):
    assert shared.take_turn(replay, 1, "x", WIDE)
    job = shared.submitting(replay, 1, "x")
    shared.chunk_ended(replay, 1, "failed", flink_job_id=job)


def test_one_that_goes_on_has_its_rows_for_itself(shared):
    add(shared, "a")
    with pytest.raises(RefusedError, match="replay aaaaaaaa .* is in progress and may write the same rows to besi"):
        add(shared, "b")
    add(shared, "c", topic="elsewhere")
    shared.ended("a" * 32, "failed")
    add(shared, "b")


def test_ranges_that_do_not_meet_share_a_topic(shared):
    """As those of a backfill by Airflow do, whose runs go side by side."""
    add(shared, "a", 12, 14)
    add(shared, "b", 14, 16)
    for start, end in ((13, 15), (12, 16), (15, 16)):
        with pytest.raises(RefusedError, match="may write the same rows"):
            add(shared, "c", start, end)


def test_rows_of_one_key_at_all_times_share_none(shared):
    add(shared, "a", 12, 14)
    with pytest.raises(RefusedError, match="may write the same rows"):
        add(shared, "b", 14, 16, is_apart=False)


def test_rows_of_two_jobs_share_none(shared):
    """Neither could read what the other one has written."""
    add(shared, "a", 12, 14)
    with pytest.raises(RefusedError, match="may write the same rows"):
        add(shared, "b", 14, 16, job="sums")


def test_what_was_written_among_its_rows_is_not_taken_for_its_own(shared):
    """The other one began before it, and went on after it: its rows lie behind where this one began to write."""
    first = add(shared, "a")
    shared.ended(first, "failed")
    second = add(shared, "b")
    shared.ended(second, "failed")
    shared.reopen(first)
    write(shared, first)
    shared.ended(first, "failed")
    with pytest.raises(
        RefusedError, match="replay bbbbbbbb of counts can't be continued: replay aaaaaaaa of counts may have"
    ):
        shared.reopen(second)
    shared.reopen(first)


def test_what_goes_straight_into_the_live_topic_writes_nothing_over_what_was_promoted(shared):
    live = add(shared, "a", 12, 14, topic="counts", output="live")
    write(shared, live)
    shared.ended(live, "failed")
    for letter, start, end in (("b", 14, 16), ("c", 13, 15)):
        promoted = add(shared, letter, start, end, topic=letter)
        shared.ended(promoted, "completed", {})
        shared.promoted(promoted)
        if letter == "b":
            shared.reopen(live)
            shared.ended(live, "failed")
    with pytest.raises(RefusedError, match="replay cccccccc of counts may have written the same rows to"):
        shared.reopen(live)


def test_one_whose_flink_jobs_go_on_has_not_ended_whatever_is_said_of_it(shared):
    first = add(shared, "a")
    assert shared.take_turn(first, 1, "x", WIDE)
    shared.submitting(first, 1, "x")
    shared.ended(first, "failed")
    with pytest.raises(RefusedError, match="may write the same rows"):
        add(shared, "b")


@pytest.mark.parametrize("goes_on", ["reopen", "take_turn", "run_again"])
def test_an_older_one_writes_nothing_over_a_newer_one(shared, goes_on):
    first = add(shared, "a")
    write(shared, first)
    if goes_on == "run_again":
        job = shared.take_turn(first, 1, "x", WIDE) and shared.submitting(first, 1, "x")
        shared.chunk_ended(first, 1, "finished", flink_job_id=job)
    shared.ended(first, "failed")
    second = add(shared, "b")

    def go_on():
        match goes_on:
            case "reopen":
                shared.reopen(first)
            case "take_turn":
                shared.take_turn(first, 1, "x", WIDE)
            case "run_again":
                shared.run_again(first, 1)

    refused = (
        "replay aaaaaaaa of counts can't be continued: replay bbbbbbbb of counts may have written the same rows to besi"
    )
    with pytest.raises(RefusedError, match=refused):
        go_on()
    # It has written nothing yet, and writes nothing any more.
    shared.ended(second, "cancelled")
    go_on()
    assert shared.find(first).outcome is None
    shared.give_back(first, 1, "x")
    shared.ended(first, "failed")
    third = add(shared, "c")
    write(shared, third)
    shared.ended(third, "failed")
    with pytest.raises(RefusedError, match="can't be continued"):
        shared.reopen(first)
