"""Lag from what readers and the broker say."""

from dataclasses import replace

import pytest

from sluice.health.positions import at_their_ends, is_doubtful, known_ends, next_offsets, read_splits
from sluice.health.positions import doubtful as find_doubtful
from sluice.health.snapshot import SplitReading
from sluice.kafka.offsets import Offsets
from tests.unit.health.judging import GOOD

KEY = ("t", 0)


@pytest.mark.parametrize(
    ("position", "earlier", "offsets", "lag"),
    [
        (9, None, Offsets(0, 10), 0),
        (4, None, Offsets(0, 10), 5),
        (None, None, Offsets(0, 10), None),  # no metric: unknown, not zero
        (-1, None, Offsets(0, 0), 0),
        (-1, None, Offsets(3, 10), 7),  # nothing read yet: all that the topic holds
        (-1, 10, Offsets(0, 10), 0),  # restored at the end, nothing came since
        (-1, 2, Offsets(5, 10), 5),  # what was between is gone from the topic
    ],
)
def test_lag(position, earlier, offsets, lag):
    positions = {} if position is None else {KEY: position}
    following = next_offsets(positions, {KEY: offsets}, {} if earlier is None else {KEY: earlier})
    [split] = read_splits({}, {KEY: offsets}, following).values()
    assert (split.lag, split.watermark_ms, split.end) == (lag, None, offsets.end)


@pytest.mark.parametrize(
    ("lag", "watermark", "doubtful"),
    [
        (1, 0, True),
        (1, None, True),
        (1, 95_000, False),  # fresh: it is being read
        (0, 0, False),
        (None, None, False),
        (5_000, 0, False),  # it may be reading
    ],
)
def test_a_small_lag_is_looked_at_again(lag, watermark, doubtful):
    assert is_doubtful(SplitReading(lag, watermark), 100_000, None) is doubtful


@pytest.mark.parametrize(("before", "watermark", "doubtful"), [(7, 0, True), (6, 0, False), (7, 95_000, False)])
def test_a_large_lag_is_looked_at_again_where_it_stands_still(before, watermark, doubtful):
    """An aborted transaction may have left any number of records behind."""
    split = SplitReading(5_000, watermark, following=7, end=5_007)
    former = replace(GOOD, splits={KEY: SplitReading(4_000, 0, following=before, end=4_007)})
    assert find_doubtful({KEY: split}, 100_000, former) == ({KEY: 7} if doubtful else {})


@pytest.mark.parametrize(
    ("before", "is_known"),
    [
        (SplitReading(0, 1, following=9, end=10), True),
        (SplitReading(1, 1, following=9, end=10), False),  # it had something to read
        (SplitReading(0, 1, following=9, end=9), False),  # something was written
        (SplitReading(0, 1, following=8, end=10), False),
    ],
)
def test_an_end_that_was_found_is_not_looked_for_again(before, is_known):
    splits = {KEY: SplitReading(1, 1, following=9, end=10)}
    found = known_ends(splits, replace(GOOD, splits={KEY: before}))
    assert found == (frozenset([KEY]) if is_known else frozenset())
    assert at_their_ends(splits, found)[KEY].lag == (0 if is_known else 1)
    assert known_ends(splits, None) == frozenset()
