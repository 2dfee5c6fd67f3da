"""Durations as they are written in deployment files."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

LONGEST = timedelta(days=999)
"""Flink's SQL intervals have at most three digits for days."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_UNITS = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "min": timedelta(minutes=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_TEXT = re.compile(r"\s*(\d+)\s*(ms|s|min|m|h|d)\s*")


def parse_duration(value: object) -> object:
    """Parse `10s`, `500 ms`, `5 min`, `2h`, `7d`; pydantic validates any other value (timedelta, ISO 8601).

    A bare number is refused, since it could mean seconds or milliseconds.

    Raises:
        ValueError: for a number without a unit, or a boolean.
    """
    if isinstance(value, bool):
        msg = "a duration is a number with a unit, e.g. 10s"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns a ValueError into its own error
    if isinstance(value, int | float):
        msg = f"a duration needs a unit, e.g. {value}s or {value}ms"
        raise ValueError(msg)  # noqa: TRY004 - pydantic turns a ValueError into its own error
    if isinstance(value, str) and (match := _TEXT.fullmatch(value)):
        return int(match[1]) * _UNITS[match[2]]
    return value


def milliseconds(value: timedelta) -> int:
    """A duration in whole milliseconds, rounded down, for Flink's options."""
    return value // timedelta(milliseconds=1)


def epoch_milliseconds(moment: datetime) -> int:
    """A moment in epoch milliseconds, rounded down, computed without floats."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


Duration = Annotated[timedelta, BeforeValidator(parse_duration), Field(le=LONGEST)]
"""A timedelta of at most 999 days; also parses `10s`, `500 ms`, `5 min`, `2h`, `7d` and ISO 8601 (`PT10S`)."""
