"""Jobs whose files were removed: what of them runs, as the cluster says. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sluice.fleet.rows import JobStatus
from sluice.flink.models import JobSummary

REMOVED = "removed"
"""The state of a job that has no file any more, and a placement in the ledger."""


def row_of_removed_job(status: JobStatus, cluster: Iterable[JobSummary]) -> JobStatus:
    """The row of such a job.

    Args:
        status: Its row as far as the ledger tells.
        cluster: Every job that the cluster remembers.
    """
    found = next((job for job in cluster if job.id == status.flink_job_id), None)
    forget = f"put the file back, or take the job off the list: sluice forget {status.job}"
    if found is not None and not found.state.is_terminal:
        words = (
            f"its file was removed, and its Flink job runs on: {found.state.value}, release {status.release}; put the "
            f"file back, or stop it: sluice suspend {status.job}"
        )
    elif status.phase == "suspended":
        words = f"its file was removed; it is suspended, and nothing of it runs; {forget}"
    else:
        seen = "the cluster doesn't know its Flink job" if found is None else f"its Flink job is {found.state.value}"
        words = f"its file was removed, and nothing of it runs: {seen}; {forget}"
    return replace(status, reasons=(words, *status.reasons[1:]))


def row_of_unreachable_removed_job(status: JobStatus, trouble: str) -> JobStatus:
    """The row of such a job where the cluster doesn't answer, or leaves it out of its list and knows it by its id.

    Args:
        status: Its row as far as the ledger tells.
        trouble: What has come instead of an answer.
    """
    words = f"its file was removed; whether its Flink job runs is not known: {trouble}"
    return replace(status, reasons=(words, *status.reasons[1:]))
