"""The fleet as a table for a person."""

from __future__ import annotations

from collections.abc import Iterable

from sluice.fleet import JobStatus
from sluice.health.words import seconds
from sluice.terminal import print_table

_COLUMNS = (
    "job",
    "state",
    "release",
    "verdict",
    "reasons",
    "lag",
    "watermark lag",
    "checkpoint age",
    "restarts",
    "drift",
)


def print_fleet(rows: Iterable[JobStatus]) -> None:
    """A row per job, on standard error."""
    print_table(
        "Jobs",
        _COLUMNS,
        [
            (
                row.job,
                row.state,
                row.release,
                row.verdict,
                row.reasons,
                row.consumer_lag,
                _age(row.watermark_lag_ms),
                _age(row.checkpoint_age_ms),
                row.restarts,
                row.drift,
            )
            for row in rows
        ],
    )


def _age(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else seconds(milliseconds)
