"""Check whether a Flink job has ended, wait for its end, and cancel it."""

from __future__ import annotations

from typing import Any

from sluice.errors import FlinkError, JobNotFoundError, OperationError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import JobState

_PAUSE = 0.05
"""Seconds between two status requests; short, since the job may be down during the wait."""


def job_state(flink: FlinkClient, job: str) -> JobState | None:
    """The job's state; None: Flink answered that it doesn't know this job.

    Raises:
        UnreachableError: no answer from Flink: the job may run.
        FlinkError: the cluster refused the request.
    """
    try:
        return flink.send(calls.status(job)).status
    except JobNotFoundError:
        return None


def has_ended(state: JobState | None) -> bool:
    """Whether a job in this state has ended; None means that the cluster doesn't know it, so it has."""
    return state is None or state.is_terminal


def send_to(flink: FlinkClient, call: calls.Call[Any], job: str) -> None:
    """Send a call; ignore its refusal if the job has ended."""
    try:
        flink.send(call)
    except UnreachableError:
        raise
    except FlinkError:
        if not has_ended(job_state(flink, job)):
            raise


def await_end(flink: FlinkClient, job: str, within: float) -> None:
    """Wait until a job that was stopped or cancelled has ended.

    Raises:
        OperationError: the job has not ended within these seconds.
    """
    deadline = flink.clock.monotonic() + within
    while (state := job_state(flink, job)) is not None and not state.is_terminal:
        if flink.clock.monotonic() > deadline:
            raise OperationError(
                f"Flink job {job} was cancelled or stopped {within:.0f} s ago, and is still {state.value}",
                remedy="look at the job in the Flink UI, then run the command again: it continues from here",
            )
        flink.clock.sleep(_PAUSE)


def cancel(flink: FlinkClient, job: str, within: float) -> None:
    """Cancel a job, and wait until it has ended.

    Raises:
        OperationError: the job has not ended within these seconds.
    """
    if has_ended(job_state(flink, job)):
        return
    send_to(flink, calls.cancel(job), job)
    await_end(flink, job, within)
