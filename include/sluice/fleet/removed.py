"""The rows of jobs whose files were removed: do they still run, by Flink's list of jobs? Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from sluice.fleet.rows import JobStatus
from sluice.flink.models import JobSummary
from sluice.ledger.values import Phase

REMOVED = "removed"
"""The state of a job without a file that has a placement in the ledger."""


def row_of_removed_job(status: JobStatus, cluster: Iterable[JobSummary]) -> JobStatus:
    """The row of a job whose file was removed.

    Args:
        status: Its row, from the ledger.
        cluster: All jobs that Flink lists.
    """
    found = next((job for job in cluster if job.id == status.flink_job_id), None)
    forget = f"put the file back, or take the job off the list: sluice forget {status.job}"
    if found is not None and not found.state.is_terminal:
        words = (
            f"its file was removed, but its Flink job still runs: {found.state.value}, release {status.release}; put "
            f"the file back, or stop the job: sluice suspend {status.job}"
        )
    elif status.phase == Phase.SUSPENDED:
        words = f"its file was removed, and it is suspended; {forget}"
    else:
        why = "Flink does not know its job" if found is None else f"its Flink job is {found.state.value}"
        words = f"its file was removed, and it does not run: {why}; {forget}"
    return replace(status, reasons=(words, *status.reasons[1:]))


def row_of_unreachable_removed_job(status: JobStatus, trouble: str) -> JobStatus:
    """The row of a job whose file was removed, if Flink doesn't answer or its answers contradict each other.

    Args:
        status: Its row, from the ledger.
        trouble: The error.
    """
    words = f"its file was removed; it is not known whether its Flink job runs: {trouble}"
    return replace(status, reasons=(words, *status.reasons[1:]))
