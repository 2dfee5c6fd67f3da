"""Jobs of the cluster that are not the ledger's: reported, never touched. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import replace

from sluice.fleet.rows import CHANGING, Found, JobStatus
from sluice.flink.models import JobSummary

_LONGEST = 255
"""Of the names in the ledger's samples; Flink takes names of any length."""
_DIGITS = 8


def with_strangers(found: Sequence[Found], cluster: Iterable[JobSummary], *, is_whole: bool) -> list[Found]:
    """The rows, those of jobs that run twice marked, and a row for each job that isn't the ledger's.

    Args:
        found: The rows of the project's jobs.
        cluster: Every job that the cluster remembers.
        is_whole: The rows are all of the project's.
    """
    ours = {row.status.flink_job_id for row in found}
    names = {row.status.job for row in found}
    # What an operation has started, or is about to end, may run under the name of what it changes.
    changing = {row.status.job for row in found if row.status.state == CHANGING}
    others = [job for job in cluster if not job.state.is_terminal and job.id not in ours and job.name not in changing]
    alive = sorted((job.model_copy(update={"name": shortened(job.name)}) for job in others), key=lambda j: j.name)
    doubles: dict[str, list[str]] = {}
    for job in alive:
        doubles.setdefault(job.name, []).append(job.id)
    return [
        *(_marked(row, doubles.get(row.status.job, [])) for row in found),
        *(Found(_duplicate(job)) for job in alive if job.name in names),
        *(Found(_undeclared(job)) for job in alive if is_whole and job.name not in names),
    ]


def shortened(name: str) -> str:
    """A name as the ledger can keep it: of a longer one the beginning, and a digest that tells it from others."""
    if len(name) <= _LONGEST:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_DIGITS]
    return f"{name[: _LONGEST - _DIGITS - 1]}~{digest}"


def _marked(row: Found, doubles: list[str]) -> Found:
    if not doubles:
        return row
    others = ", ".join(doubles)
    words = f"Flink job {others} runs under this name as well, and the ledger does not know it: cancel one of the two"
    if row.status.flink_job_id is None:
        words = f"Flink job {others} runs under this name, and the ledger does not know it: cancel it, or rename one"
    reasons = (words, *row.status.reasons)
    return replace(row, status=replace(row.status, verdict="failed", reasons=reasons, doubles=tuple(doubles)))


def _duplicate(job: JobSummary) -> JobStatus:
    words = "a job of this name is declared, and this is not the one that the ledger knows; it is left alone"
    return JobStatus(job.name, "duplicate", flink_job_id=job.id, reasons=(words,))


def _undeclared(job: JobSummary) -> JobStatus:
    words = f"nobody declares it: it has no file and no entry in the ledger, and is {job.state.value}; it is left alone"
    return JobStatus(job.name, "undeclared", flink_job_id=job.id, reasons=(words,))
