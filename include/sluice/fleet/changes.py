"""What is new to somebody who was told of the fleet before. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from sluice.fleet.needs import Needed
from sluice.fleet.rows import CHANGING, JobStatus

_NOT_SEEN = ("unreachable", CHANGING)


def changes(before: Mapping[str, str], rows: Iterable[JobStatus]) -> list[dict[str, Any]]:
    """A job seen for the first time has changed only if something is wrong with it.

    `unknown` says that a job could not be judged, not that it has changed: what it was before goes on being compared
    only while sweeps see it, so going into and coming out of `unknown` are both told. Of a job that an operation
    changes at this moment nothing is told.

    Args:
        before: The verdicts that were told last, by the job's name.
        rows: What was seen now.

    Returns:
        A list of {job, old, new, state, reasons}.
    """
    return [
        _change(row, before.get(row.job), row.reasons)
        for row in rows
        if row.state != CHANGING
        and before.get(row.job, "healthy") != row.verdict
        and not (row.job not in before and row.verdict == "idle")
    ]


def known_then(before: Mapping[str, str], rows: Iterable[JobStatus]) -> dict[str, str]:
    """The verdicts that are known once these rows are told; of a job that is being changed, what was known before."""
    verdicts = {row.job: before.get(row.job) if row.state == CHANGING else row.verdict for row in rows}
    return {job: verdict for job, verdict in verdicts.items() if verdict is not None}


def reports(
    before: Mapping[str, str], rows: Iterable[JobStatus], needs: Iterable[Needed]
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """What needs a person in a job whose verdict doesn't tell: given up, an approval, what can't be deployed.

    Args:
        before: The causes that were told last, by the job's name.
        rows: What was seen now.
        needs: What the jobs need.

    Returns:
        A list as that of `changes`, `old` and `new` the same, `reasons` what is to be done; and the causes that are
        known once it is told. Of a job that could not be looked at, that is what was known before.
    """
    seen = {row.job: row for row in rows}
    causes = {each.job: each for each in needs if each.decision.cause}
    news = [
        _change(seen[job], seen[job].verdict, (each.decision.why,))
        for job, each in causes.items()
        if before.get(job) != each.decision.cause
    ]
    kept = {job: cause for job, cause in before.items() if job in seen and seen[job].state in _NOT_SEEN}
    return news, {**kept, **{job: each.decision.cause or "" for job, each in causes.items()}}


def _change(row: JobStatus, old: str | None, reasons: Iterable[str]) -> dict[str, Any]:
    return {"job": row.job, "old": old, "new": row.verdict, "state": row.state, "reasons": list(reasons)}
