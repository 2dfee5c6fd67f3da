"""Which events a chunk needs, and that each row is in exactly one."""

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
    """Beginnings of windows that a chunk owns."""
    at = NOON - HOUR
    while at < NOON + 4 * HOUR:
        if part.since <= at < part.before and at + step <= part.until:
            yield at
        at += step


@pytest.mark.parametrize("chunk", [5 * MINUTE, 7 * MINUTE, HOUR, 3 * HOUR])
@pytest.mark.parametrize("start", [NOON, NOON + 2 * MINUTE])
@pytest.mark.parametrize("span", [5 * MINUTE, None])
def test_each_window_of_the_range_is_in_one_chunk(chunk, start, span):
    end = start + 2 * HOUR + MINUTE
    parts = list(cut(start, end, chunk, span))
    assert (parts[0].since, parts[-1].before, parts[-1].until) == (start, end, end)
    assert all(one.before == two.since for one, two in pairwise(parts))
    owned = [at for part in parts for at in starts(part, 5 * MINUTE)]
    whole = list(starts(ChunkRange(start, end, end), 5 * MINUTE))
    assert owned == whole


def test_a_chunk_reads_no_further_than_its_rows_reach():
    first, second = cut(NOON, NOON + 2 * HOUR, HOUR, 5 * MINUTE)
    assert (first.until, second.until) == (NOON + HOUR + 5 * MINUTE, NOON + 2 * HOUR)
    assert [part.until for part in cut(NOON, NOON + 2 * HOUR, HOUR, None)] == [NOON + 2 * HOUR] * 2


def test_what_arrives_early_or_late_belongs_to_it():
    part = ChunkRange(NOON, NOON + HOUR, NOON + HOUR)
    # An hour ahead of its arrival at the most; ten minutes behind it, and a minute of timestamps that run backwards.
    assert arrivals(TOPIC, part, timedelta(0)) == (NOON - HOUR, NOON + HOUR + 11 * MINUTE)
    assert arrivals(TOPIC, part, 30 * MINUTE) == (NOON - 90 * MINUTE, NOON + HOUR + 41 * MINUTE)
