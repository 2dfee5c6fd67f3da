"""Values as SQL text, for pipelines that are written as SQL."""

from __future__ import annotations

from datetime import timedelta

from sluice.job.duration import milliseconds


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def interval(duration: timedelta) -> str:
    """A SQL interval literal, to the millisecond; at most 999 days, which Flink's day precision of 3 holds."""
    total = milliseconds(duration)
    days, rest = divmod(total, 86_400_000)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    seconds, millis = divmod(rest, 1_000)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{millis:03}' DAY(3) TO SECOND(3)"
