"""Which events a range of rows needs, and how a range is cut into chunks. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

from sluice.job.topic import Kafka


@dataclass(frozen=True)
class ChunkRange:
    """What one chunk emits: rows that begin in it, and end at `until` at the latest.

    Attributes:
        since: The first moment at which a row may begin.
        before: Rows begin before it.
        until: The last moment at which a row may end.
    """

    since: datetime
    before: datetime
    until: datetime


def cut(start: datetime, end: datetime, chunk: timedelta, span: timedelta | None) -> Iterator[ChunkRange]:
    """The chunks of a range; each row that lies in the range is in exactly one of them.

    Args:
        start: Where the range begins.
        end: Where it ends.
        chunk: How long each is; the last one may be shorter.
        span: The most that a row covers; None: it may be anything.
    """
    since = start
    while since < end:
        before = min(since + chunk, end)
        yield ChunkRange(since, before, end if span is None else min(before + span, end))
        since = before


def arrivals(topic: Kafka, part: ChunkRange, reach: timedelta) -> tuple[datetime, datetime]:
    """Between which arrivals everything lies that a chunk's rows are made of.

    An event arrives `future_tolerance` before its event time at the earliest, and `watermark_delay` after it at the
    latest: otherwise it is malformed or late (see `Kafka`). The timestamps of a partition run backwards by at most
    `arrival_skew`: nothing of the chunk comes after the first record that arrived that much later.

    Args:
        topic: What is read.
        part: The chunk.
        reach: How far before its beginning and after its end an event can still change a row.
    """
    first = part.since - reach - topic.future_tolerance
    return first, part.until + reach + topic.watermark_delay + topic.arrival_skew
