"""Values as SQL text, for pipelines that are written as SQL."""

from __future__ import annotations

from datetime import timedelta

from sluice.errors import ConfigError
from sluice.job.duration import LONGEST, milliseconds


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def interval(duration: timedelta) -> str:
    """A SQL interval literal, to the millisecond.

    Raises:
        ConfigError: it is negative, or longer than the 999 days that Flink's day precision of 3 holds.
    """
    if not timedelta(0) <= duration <= LONGEST:
        raise ConfigError(f"{duration} can't be a SQL interval", remedy=f"choose one of 0 to {LONGEST.days} days")
    total = milliseconds(duration)
    days, rest = divmod(total, 86_400_000)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    seconds, millis = divmod(rest, 1_000)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{millis:03}' DAY(3) TO SECOND(3)"
