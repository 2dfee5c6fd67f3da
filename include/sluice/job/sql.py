"""Python values as SQL literals, for pipelines that are written in SQL."""

from __future__ import annotations

from datetime import timedelta

from sluice.errors import ConfigError
from sluice.job.duration import LONGEST, milliseconds


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def interval(duration: timedelta) -> str:
    """A SQL interval literal in milliseconds precision.

    Raises:
        ConfigError: the duration is negative, or above 999 days, the maximum of Flink's day precision of 3.
    """
    if not timedelta(0) <= duration <= LONGEST:
        raise ConfigError(f"{duration} can't be a SQL interval", remedy=f"choose 0 to {LONGEST.days} days")
    total = milliseconds(duration)
    days, rest = divmod(total, 86_400_000)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    seconds, millis = divmod(rest, 1_000)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{millis:03}' DAY(3) TO SECOND(3)"
