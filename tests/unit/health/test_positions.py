"""Positions and lag, from what readers and the broker report."""

from dataclasses import replace

import pytest

from sluice.health.positions import known_ends, may_be_at_end, next_offsets, possibly_at_end, read_splits, without_lag
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
        (-1, None, Offsets(3, 10), 7),  # nothing read yet: all records that the topic holds
        (-1, 10, Offsets(0, 10), 0),  # restored at the end, nothing came since
        (-1, 2, Offsets(5, 10), 5),  # records before the first offset were deleted
    ],
)
def test_lag_of_a_partition(position, earlier, offsets, lag):
    positions = {} if position is None else {KEY: position}
    next_by_partition = next_offsets(positions, {KEY: offsets}, {} if earlier is None else {KEY: earlier})
    [split] = read_splits({}, {KEY: offsets}, next_by_partition).values()
    assert (split.lag, split.watermark_ms, split.end) == (lag, None, offsets.end)


@pytest.mark.parametrize(
    ("lag", "watermark", "checked"),
    [
        (1, 0, True),
        (1, None, True),
        (1, 95_000, False),  # fresh: it is being read
        (0, 0, False),
        (None, None, False),
        (5_000, 0, False),  # it may be reading
    ],
)
def test_small_lag_is_checked_with_the_broker(lag, watermark, checked):
    assert may_be_at_end(SplitReading(lag, watermark), 100_000, None) is checked


@pytest.mark.parametrize(("before", "watermark", "checked"), [(7, 0, True), (6, 0, False), (7, 95_000, False)])
def test_large_lag_is_checked_with_the_broker_if_its_position_has_not_moved(before, watermark, checked):
    """An aborted transaction may leave any number of records behind."""
    split = SplitReading(5_000, watermark, next_offset=7, end=5_007)
    previous = replace(GOOD, splits={KEY: SplitReading(4_000, 0, next_offset=before, end=4_007)})
    assert possibly_at_end({KEY: split}, 100_000, previous) == ({KEY: 7} if checked else {})


@pytest.mark.parametrize(
    ("before", "is_known"),
    [
        (SplitReading(0, 1, next_offset=9, end=10), True),
        (SplitReading(1, 1, next_offset=9, end=10), False),  # it had something to read
        (SplitReading(0, 1, next_offset=9, end=9), False),  # something was written
        (SplitReading(0, 1, next_offset=8, end=10), False),
    ],
)
def test_partition_known_to_be_read_to_its_end_is_not_checked_again(before, is_known):
    splits = {KEY: SplitReading(1, 1, next_offset=9, end=10)}
    found = known_ends(splits, replace(GOOD, splits={KEY: before}))
    assert found == (frozenset([KEY]) if is_known else frozenset())
    assert without_lag(splits, found)[KEY].lag == (0 if is_known else 1)
    assert known_ends(splits, None) == frozenset()
