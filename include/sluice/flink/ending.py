"""Whether a Flink job has ended, and having it end."""

from __future__ import annotations

import time
from typing import Any

from sluice.errors import FlinkError, JobNotFoundError, OperationError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import JobState

_PAUSE = 0.05
"""Seconds between two looks: a job is down meanwhile."""


def job_state(flink: FlinkClient, job: str) -> JobState | None:
    """The job's state; None: Flink itself says that it doesn't know this job.

    Raises:
        UnreachableError: the cluster doesn't answer, or something else does: the job may well run.
        FlinkError: the cluster refuses to answer.
    """
    try:
        return flink.send(calls.status(job)).status
    except JobNotFoundError:
        return None


def has_ended(state: JobState | None) -> bool:
    """Nothing runs any more under the id; one that the cluster doesn't know has ended."""
    return state is None or state.is_terminal


def send_to(flink: FlinkClient, call: calls.Call[Any], job: str) -> None:
    """Send; a refusal because the job has just ended is none."""
    try:
        flink.send(call)
    except UnreachableError:
        raise
    except FlinkError:
        if not has_ended(job_state(flink, job)):
            raise


def await_end(flink: FlinkClient, job: str, within: float) -> None:
    """Wait until a job that was told to end has.

    Raises:
        OperationError: it has not within these seconds.
    """
    deadline = time.monotonic() + within
    while (state := job_state(flink, job)) is not None and not state.is_terminal:
        if time.monotonic() > deadline:
            raise OperationError(
                f"Flink job {job} was told to end {within:.0f} s ago, and is {state.value}",
                remedy="look at it in the Flink UI; the next attempt goes on from here",
            )
        time.sleep(_PAUSE)


def cancel(flink: FlinkClient, job: str, within: float) -> None:
    """Cancel a job, and wait until it has ended.

    Raises:
        OperationError: it has not within these seconds.
    """
    if has_ended(job_state(flink, job)):
        return
    send_to(flink, calls.cancel(job), job)
    await_end(flink, job, within)
