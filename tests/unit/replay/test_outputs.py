"""Conflicts of replays that write the same rows into one topic: never at the same time, never old rows over new."""

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
    assert shared.claim(replay, 1, "x", WIDE)
    job = shared.submitting(replay, 1, "x")
    shared.chunk_ended(replay, 1, "failed", flink_job_id=job)


def test_two_running_replays_cannot_write_the_same_rows(shared):
    add(shared, "a")
    with pytest.raises(RefusedError, match="replay aaaaaaaa of counts is in progress and may write the same rows to"):
        add(shared, "b")
    add(shared, "c", topic="elsewhere")
    shared.ended("a" * 32, "failed")
    add(shared, "b")


def test_replays_of_disjoint_ranges_may_share_a_topic(shared):
    """As the parallel runs of an Airflow backfill do."""
    add(shared, "a", 12, 14)
    add(shared, "b", 14, 16)
    for start, end in ((13, 15), (12, 16), (15, 16)):
        with pytest.raises(RefusedError, match="may write the same rows"):
            add(shared, "c", start, end)


def test_rows_whose_key_has_no_time_cannot_share_a_topic(shared):
    add(shared, "a", 12, 14)
    with pytest.raises(RefusedError, match="may write the same rows"):
        add(shared, "b", 14, 16, is_apart=False)


def test_replays_of_two_jobs_cannot_share_a_topic(shared):
    """Neither job could read the other one's rows."""
    add(shared, "a", 12, 14)
    with pytest.raises(RefusedError, match="may write the same rows"):
        add(shared, "b", 14, 16, job="sums")


def test_replay_cannot_resume_after_another_one_wrote_among_its_rows(shared):
    """The other one began earlier and was resumed later: its rows lie behind the first offset of this one."""
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


def test_replay_into_the_live_topic_cannot_overwrite_promoted_rows(shared):
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


def test_a_failed_replay_with_a_running_flink_job_still_blocks_others(shared):
    first = add(shared, "a")
    assert shared.claim(first, 1, "x", WIDE)
    shared.submitting(first, 1, "x")
    shared.ended(first, "failed")
    with pytest.raises(RefusedError, match="may write the same rows"):
        add(shared, "b")


@pytest.mark.parametrize("goes_on", ["reopen", "claim", "run_again"])
def test_an_older_replay_cannot_resume_over_a_newer_one(shared, goes_on):
    first = add(shared, "a")
    write(shared, first)
    if goes_on == "run_again":
        job = shared.claim(first, 1, "x", WIDE) and shared.submitting(first, 1, "x")
        shared.chunk_ended(first, 1, "finished", flink_job_id=job)
    shared.ended(first, "failed")
    second = add(shared, "b")

    def go_on():
        match goes_on:
            case "reopen":
                shared.reopen(first)
            case "claim":
                shared.claim(first, 1, "x", WIDE)
            case "run_again":
                shared.run_again(first, 1)

    refused = (
        "replay aaaaaaaa of counts can't be continued: replay bbbbbbbb of counts may have written the same rows to besi"
    )
    with pytest.raises(RefusedError, match=refused):
        go_on()
    # The newer one has written nothing, and is cancelled.
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
