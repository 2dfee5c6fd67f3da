"""Replays that would write the same rows into one topic: never side by side, never an older one over a newer one."""

import pytest

from sluice.errors import RefusedError
from sluice.release.ledger import Ledger
from sluice.release.turns import Limits
from tests.unit.replay.plans import hour, plan

WIDE = Limits(replay=9, job=9)


@pytest.fixture
def replays(tmp_path):
    return Ledger(f"sqlite:///{tmp_path / 'ledger.db'}", "test").replays


def add(replays, letter, start=12, end=14, *, topic="beside", is_apart=True):
    more = {"start": hour(start), "end": hour(end), "outputs": {"counts": topic}, "is_apart": is_apart}
    replays.add(letter * 32, "counts", letter, 1, plan(**more).model_dump(mode="json"), ["chunk"], None)
    return letter * 32


def write(replays, replay):
    assert replays.take_turn(replay, 1, "x", WIDE)
    job = replays.submitting(replay, 1, "x")
    replays.chunk_ended(replay, 1, "failed", flink_job_id=job)


def test_one_that_goes_on_has_its_rows_for_itself(replays):
    add(replays, "a")
    with pytest.raises(RefusedError, match="replay aaaaaaaa of counts goes on, and may write the same rows into besi"):
        add(replays, "b")
    add(replays, "c", topic="elsewhere")
    replays.ended("a" * 32, "failed")
    add(replays, "b")


def test_ranges_that_do_not_meet_share_a_topic(replays):
    """As those of a backfill by Airflow do, whose runs go side by side."""
    add(replays, "a", 12, 14)
    add(replays, "b", 14, 16)
    for start, end in ((13, 15), (12, 16), (15, 16)):
        with pytest.raises(RefusedError, match="may write the same rows"):
            add(replays, "c", start, end)


def test_rows_of_one_key_at_all_times_share_none(replays):
    add(replays, "a", 12, 14)
    with pytest.raises(RefusedError, match="may write the same rows"):
        add(replays, "b", 14, 16, is_apart=False)


def test_one_whose_flink_jobs_go_on_has_not_ended_whatever_is_said_of_it(replays):
    first = add(replays, "a")
    assert replays.take_turn(first, 1, "x", WIDE)
    replays.submitting(first, 1, "x")
    replays.ended(first, "failed")
    with pytest.raises(RefusedError, match="may write the same rows"):
        add(replays, "b")


@pytest.mark.parametrize("goes_on", ["reopen", "take_turn", "run_again"])
def test_an_older_one_writes_nothing_over_a_newer_one(replays, goes_on):
    first = add(replays, "a")
    write(replays, first)
    if goes_on == "run_again":
        job = replays.take_turn(first, 1, "x", WIDE) and replays.submitting(first, 1, "x")
        replays.chunk_ended(first, 1, "finished", flink_job_id=job)
    replays.ended(first, "failed")
    second = add(replays, "b")

    def go_on():
        match goes_on:
            case "reopen":
                replays.reopen(first)
            case "take_turn":
                replays.take_turn(first, 1, "x", WIDE)
            case "run_again":
                replays.run_again(first, 1)

    refused = (
        "replay aaaaaaaa of counts can't go on: replay bbbbbbbb of counts may have written the same rows into besi"
    )
    with pytest.raises(RefusedError, match=refused):
        go_on()
    # It has written nothing yet, and writes nothing any more.
    replays.ended(second, "cancelled")
    go_on()
    assert replays.find(first).outcome is None
    replays.give_back(first, 1, "x")
    replays.ended(first, "failed")
    third = add(replays, "c")
    write(replays, third)
    replays.ended(third, "failed")
    with pytest.raises(RefusedError, match="can't go on"):
        replays.reopen(first)
