"""The fleet as a table in the terminal."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from rich.table import Table

from sluice.fleet.rows import JobStatus
from sluice.health.formatting import per_second, seconds
from sluice.terminal import console, make_table

_COLUMNS = (
    "job",
    "state",
    "release",
    "verdict",
    "reasons",
    "lag",
    "trend",
    "in",
    "watermark lag",
    "checkpoint age",
    "restarts",
    "drift",
)
_OVERRIDES_COLUMN = "set by a run"
"""The column of overrides, shown if a job has any."""


def print_fleet(rows: Iterable[JobStatus]) -> None:
    """Print the table on standard error."""
    console.print(fleet_table(rows))


def fleet_table(rows: Iterable[JobStatus]) -> Table:
    """The table, a row for each job."""
    rows = list(rows)
    if not any(row.overrides for row in rows):
        return make_table("Jobs", _COLUMNS, [_cells(row) for row in rows])
    return make_table("Jobs", (*_COLUMNS, _OVERRIDES_COLUMN), [(*_cells(row), _overrides(row)) for row in rows])


def _cells(row: JobStatus) -> tuple[Any, ...]:
    return (
        row.job,
        row.state,
        row.release,
        row.verdict,
        row.reasons,
        row.consumer_lag,
        None if row.lag_per_s is None else f"{row.lag_per_s:+,.1f}/s",
        None if row.records_in_per_s is None else per_second(row.records_in_per_s),
        _age(row.watermark_lag_ms),
        _age(row.checkpoint_age_ms),
        row.restarts,
        row.drift,
    )


def _overrides(row: JobStatus) -> str:
    return ", ".join(f"{name}={value}" for name, value in row.overrides.items())


def _age(milliseconds: int | None) -> str | None:
    return None if milliseconds is None else seconds(milliseconds)
