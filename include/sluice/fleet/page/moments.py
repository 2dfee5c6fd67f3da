"""Formats of times for the fleet page."""

from __future__ import annotations

from datetime import datetime
from typing import overload


@overload
def unix(moment: datetime) -> float: ...
@overload
def unix(moment: None) -> None: ...
def unix(moment: datetime | None) -> float | None:
    """Unix time in seconds, to the millisecond."""
    return None if moment is None else round(moment.timestamp(), 3)


def format_utc(moment: datetime) -> str:
    """Date and time in UTC, to the second."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
