"""Rates and stalls, from two snapshots."""

from dataclasses import replace

import pytest

from sluice.health.snapshot import Counters, Load, SplitReading, Trend, Work
from sluice.health.trend import choose_previous, compare
from tests.unit.health.judging import GOOD, NOW, splits

THEN = NOW - 60_000


def at(moment, *readings, **changes):
    """A snapshot with these splits: lag, watermark, next offset."""
    found = {("t", number): SplitReading(lag, mark, offset) for number, (lag, mark, offset) in enumerate(readings)}
    return replace(GOOD, at_ms=moment, splits=found, **changes)


def test_rates_are_per_second_and_of_dead_letters_per_minute():
    previous = at(THEN, (100, THEN, 5), counters=Counters(1_000, 50, 10), work=(Work("a", 2, 0, 0, 0),))
    now = at(NOW, (700, NOW, 9), counters=Counters(7_000, 110, 13), work=(Work("a", 2, 60_000, 30_000, 30_000),))
    assert compare(now, previous).trend == Trend(
        since_ms=THEN,
        lag_per_s=10.0,
        records_in_per_s=100.0,
        records_out_per_s=1.0,
        dead_letters_per_min=3.0,
        loads=(Load("a", busy=0.5, backpressured=0.25),),
    )


@pytest.mark.parametrize(
    "previous",
    [None, replace(GOOD, at_ms=THEN, flink_job_id="b" * 32), replace(GOOD, at_ms=NOW)],
    ids=["none", "of another Flink job", "of the same moment"],
)
def test_snapshot_without_comparable_previous_one_has_no_trend(previous):
    assert compare(GOOD, previous) == GOOD


def test_trend_over_a_short_time_has_no_rates():
    previous = replace(GOOD, at_ms=NOW - 2_000, counters=Counters(records_in=1))
    assert compare(GOOD, previous).trend == Trend(since_ms=NOW - 2_000)


def test_restarted_tasks_have_no_rates():
    previous = at(THEN, (100, THEN, 5), counters=Counters(1_000, 50), restarts=0)
    trend = compare(at(NOW, (700, NOW, 9), counters=Counters(7_000, 110), restarts=1), previous).trend
    assert (trend.records_in_per_s, trend.records_out_per_s, trend.lag_per_s) == (None, None, 10.0)


@pytest.mark.parametrize(
    ("before", "now", "since"),
    [
        ((7, THEN, 5), (9, THEN, 5), THEN),
        ((7, THEN, 5), (9, THEN, 6), None),  # it was read
        ((7, THEN, 5), (9, NOW, 5), None),  # its watermark moves
        ((0, THEN, 5), (9, THEN, 5), None),  # there was nothing to read
        ((7, THEN, 5), (0, THEN, 5), None),  # there is nothing to read
        ((None, THEN, None), (9, THEN, 5), None),
        ((7, THEN, 5), (None, THEN, None), None),
    ],
)
def test_split_stalls_if_its_position_does_not_move_with_records_to_read(before, now, since):
    [split] = compare(at(NOW, now), at(THEN, before)).splits.values()
    assert split.stalled_since_ms == since


def test_stall_keeps_its_first_time():
    first = at(THEN, (7, 0, 5))
    second = compare(at(NOW, (8, 0, 5)), first)
    third = compare(at(NOW + 60_000, (9, 0, 5)), second)
    assert [split.stalled_since_ms for split in third.splits.values()] == [THEN]
    moved = compare(at(NOW + 120_000, (1, 0, 13)), third)
    assert [split.stalled_since_ms for split in moved.splits.values()] == [None]


def test_no_split_counts_as_stalled_while_metrics_are_stale():
    work = (Work("a", 2, 1, 2, 3),)
    found = compare(at(NOW, (7, THEN, 5), work=work), at(THEN, (7, THEN, 5), work=work))
    assert found.trend == Trend(since_ms=THEN, is_stale=True)
    assert [split.stalled_since_ms for split in found.splits.values()] == [None]


def test_chosen_previous_snapshot_is_old_enough_to_compare():
    taken = [replace(GOOD, at_ms=NOW - age, splits=splits()) for age in (30_000, 12_000, 4_000)]
    assert choose_previous(taken, NOW).at_ms == NOW - 12_000
    assert choose_previous(taken[2:], NOW).at_ms == NOW - 4_000
    assert choose_previous([], NOW) is None
