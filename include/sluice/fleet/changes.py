"""Which verdicts have changed from one sweep to the next. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sluice.fleet.rows import JobStatus


def changes(before: Mapping[str, str], rows: Iterable[JobStatus]) -> list[dict[str, Any]]:
    """A job seen for the first time has changed only if something is wrong with it.

    `unknown` says that a job could not be judged, not that it has changed: what it was before goes on being compared
    only while sweeps see it, so going into and coming out of `unknown` are both told.

    Args:
        before: The verdicts of the sweep before, by the job's name.
        rows: What was seen now.

    Returns:
        A list of {job, old, new, state, reasons}.
    """
    return [
        {
            "job": row.job,
            "old": before.get(row.job),
            "new": row.verdict,
            "state": row.state,
            "reasons": list(row.reasons),
        }
        for row in rows
        if before.get(row.job, "healthy") != row.verdict and not (row.job not in before and row.verdict == "idle")
    ]
