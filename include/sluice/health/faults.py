"""Does a failure come from the job itself, or from what it runs on? Pure."""

from __future__ import annotations

from sluice.flink.models import JobState
from sluice.health.snapshot import Failure, Snapshot
from sluice.job.duration import milliseconds
from sluice.job.limits import Health

_JOB_EXCEPTIONS = (
    "java.lang.",
    "org.apache.flink.table.api.TableRuntimeException",
    "org.apache.flink.util.StateMigrationException",
    # A retry does not make the row smaller.
    "org.apache.kafka.common.errors.RecordTooLargeException",
)
"""Classes of failures in a job's code and state. Those of networks, brokers and Flink's runtime have other packages."""
_CHECKPOINT_EXPIRED = "Checkpoint expired before completing"
"""Flink's message for a checkpoint whose barrier does not get through a blocked task."""
_MIN_BUSY = 0.5
"""Share of one subtask's time, 0 to 1. A subtask below it waits for input."""


def is_job_fault(failure: Failure) -> bool:
    """Whether the job's own code or state raised it."""
    return failure.is_python or failure.name.startswith(_JOB_EXCEPTIONS)


def fails_by_own_fault(snapshot: Snapshot, health: Health) -> bool:
    """Whether the job's own code or state made it fail, or keeps it restarting, so that another release may help.

    A job that is RUNNING must have failed this way more often than its limits allow. A job that processes nothing
    without a failure is the subject of `stalls_by_own_fault`.
    """
    if snapshot.state is not None and snapshot.state.is_terminal:
        newest = snapshot.failures[:1]
    elif snapshot.state is JobState.RUNNING and len(snapshot.recent_failures) <= health.restarts:
        newest = ()
    else:
        newest = snapshot.recent_failures[: health.restarts + 1]
    return bool(newest) and all(is_job_fault(failure) for failure in newest)


def stalls_by_own_fault(snapshot: Snapshot, health: Health) -> bool:
    """Whether a running job reads none of its input because one of its own operators is blocked.

    All its tasks have run for longer than a start may take, and one of them is busy or backpressured. A source that
    only waits for input gets none: because of a broker, a network, or a transaction that a producer keeps open. Another
    failure of the cluster in the last minutes can cause a stall too, so that the job isn't blamed.
    """
    return (
        snapshot.state is JobState.RUNNING
        and snapshot.tasks_running >= snapshot.tasks_total
        and snapshot.running_ms > milliseconds(health.start_timeout)
        and snapshot.is_stalled(milliseconds(health.stall))
        and all(is_job_fault(each) or _CHECKPOINT_EXPIRED in each.words for each in snapshot.recent_failures)
        and _is_busy(snapshot)
    )


def _is_busy(snapshot: Snapshot) -> bool:
    if (snapshot.backpressured or 0) >= _MIN_BUSY:
        return True
    subtasks = {work.name: work.parallelism for work in snapshot.work}
    return any(
        max(load.busy, load.backpressured) * subtasks.get(load.name, 1) >= _MIN_BUSY for load in snapshot.trend.loads
    )
