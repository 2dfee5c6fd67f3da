"""Durations as people write them in deployment files."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from typing import Annotated

from pydantic import BeforeValidator, Field

LONGEST = timedelta(days=999)
"""Flink's intervals have three digits for days."""

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
    """Read `10s`, `500 ms`, `5 min`, `2h`, `7d`; anything else is left to pydantic (timedelta, ISO 8601).

    A bare number is refused: nobody can tell seconds from milliseconds.

    Raises:
        ValueError: for a number without a unit, or a truth value.
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
    """The whole milliseconds of a duration, as Flink's options take them."""
    return value // timedelta(milliseconds=1)


def epoch_milliseconds(moment: datetime) -> int:
    """The whole milliseconds from 1970 on to a moment, exactly."""
    return (moment - _EPOCH) // timedelta(milliseconds=1)


Duration = Annotated[timedelta, BeforeValidator(parse_duration), Field(le=LONGEST)]
"""A timedelta of at most 999 days that also reads `10s`, `500 ms`, `5 min`, `2h`, `7d` and ISO 8601 (`PT10S`)."""
