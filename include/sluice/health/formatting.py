"""Formats figures for messages."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from sluice.kafka.offsets import Partition

_NAMED = 5


def named(partitions: Sequence[Partition]) -> str:
    """The names of partitions, for example `orders-0`: the first five, and how many more."""
    names = ", ".join(f"{topic}-{number}" for topic, number in partitions[:_NAMED])
    rest = len(partitions) - _NAMED
    return names + (f" and {rest} more partitions" if rest > 0 else "")


def seconds(value_ms: float) -> str:
    """Milliseconds, printed in seconds."""
    return f"{timedelta(milliseconds=round(value_ms)).total_seconds():.1f} s"


def clock(at_ms: float) -> str:
    """The time of day in UTC of a moment in epoch milliseconds."""
    return f"{datetime.fromtimestamp(at_ms / 1000, UTC):%H:%M:%S} UTC"


def per_second(rate: float) -> str:
    """A rate in records per second, without its sign."""
    return f"{abs(rate):,.0f}/s" if abs(rate) >= 10 else f"{abs(rate):.1f}/s"


def percent(share: float) -> str:
    """A share of 0 to 1, printed in percent."""
    return f"{share:.0%}"
