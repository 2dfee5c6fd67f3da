"""Moments and durations as numbers."""

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


def in_words(moment: datetime) -> str:
    """For a person."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
