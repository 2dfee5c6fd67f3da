"""Which events a chunk needs, and that each row belongs to exactly one chunk."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest

from sluice import Kafka, Record
from sluice.replay.ranges import ChunkRange, arrivals, cut

NOON = datetime(2026, 1, 31, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)


class Row(Record):
    """A row."""

    at: int


TOPIC = Kafka("rows", record=Row, event_time="at", watermark_delay=10 * MINUTE, arrival_skew=MINUTE)


def starts(part, step):
    """The beginnings of the windows that a chunk emits."""
    at = NOON - HOUR
    while at < NOON + 4 * HOUR:
        if part.since <= at < part.before and at + step <= part.until:
            yield at
        at += step


@pytest.mark.parametrize("chunk", [5 * MINUTE, 7 * MINUTE, HOUR, 3 * HOUR])
@pytest.mark.parametrize("start", [NOON, NOON + 2 * MINUTE])
@pytest.mark.parametrize("span", [5 * MINUTE, None])
def test_each_window_of_the_range_belongs_to_exactly_one_chunk(chunk, start, span):
    end = start + 2 * HOUR + MINUTE
    parts = list(cut(start, end, chunk, span))
    assert (parts[0].since, parts[-1].before, parts[-1].until) == (start, end, end)
    assert all(one.before == two.since for one, two in pairwise(parts))
    owned = [at for part in parts for at in starts(part, 5 * MINUTE)]
    whole = list(starts(ChunkRange(start, end, end), 5 * MINUTE))
    assert owned == whole


def test_a_chunk_ends_one_row_span_behind_its_last_row():
    first, second = cut(NOON, NOON + 2 * HOUR, HOUR, 5 * MINUTE)
    assert (first.until, second.until) == (NOON + HOUR + 5 * MINUTE, NOON + 2 * HOUR)
    assert [part.until for part in cut(NOON, NOON + 2 * HOUR, HOUR, None)] == [NOON + 2 * HOUR] * 2


def test_arrivals_include_early_late_and_out_of_order_events():
    part = ChunkRange(NOON, NOON + HOUR, NOON + HOUR)
    # At most an hour before the event time; at most ten minutes after it, and a minute of arrival skew.
    assert arrivals(TOPIC, part, timedelta(0)) == (NOON - HOUR, NOON + HOUR + 11 * MINUTE)
    assert arrivals(TOPIC, part, 30 * MINUTE) == (NOON - 90 * MINUTE, NOON + HOUR + 41 * MINUTE)
