"""Which events a range of rows needs, and how a range is cut into chunks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluice.job.topic import Kafka


@dataclass(frozen=True)
class ChunkRange:
    """The rows that one chunk emits.

    Attributes:
        since: Its rows begin at or after this moment,
        before: before this one,
        until: and end at this one at the latest.
    """

    since: datetime
    before: datetime
    until: datetime


def cut(start: datetime, end: datetime, chunk: timedelta, span: timedelta | None) -> Iterator[ChunkRange]:
    """Cut a range into chunks; each row that lies in the range belongs to exactly one of them.

    Args:
        start: The beginning of the range.
        end: Its end.
        chunk: The length of a chunk; the last one may be shorter.
        span: The longest time that a row covers; None: unlimited.
    """
    since = start
    while since < end:
        before = min(since + chunk, end)
        yield ChunkRange(since, before, end if span is None else min(before + span, end))
        since = before


def arrivals(topic: Kafka, part: ChunkRange, reach: timedelta) -> tuple[datetime, datetime]:
    """The first and the last arrival time of the events that a chunk's rows depend on.

    An event arrives `future_tolerance` before its event time at the earliest, and `watermark_delay` after it at the
    latest: otherwise it is malformed or late (see `Kafka`). The timestamps of a partition run backwards by at most
    `arrival_skew`, so that the chunk needs no record behind the first one that arrived that much later.

    Args:
        topic: The topic that the events are read from.
        part: The chunk.
        reach: How far before the chunk's beginning and after its end an event can still change a row.
    """
    first = part.since - reach - topic.future_tolerance
    return first, part.until + reach + topic.watermark_delay + topic.arrival_skew
