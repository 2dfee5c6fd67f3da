"""Whose fault a failure is: the job's, or that of what it runs on. Pure."""

from __future__ import annotations

from sluice.flink.models import JobState
from sluice.health.snapshot import Failure, Snapshot
from sluice.job.duration import milliseconds
from sluice.job.limits import Health

_ITS_OWN = (
    "java.lang.",
    "org.apache.flink.table.api.TableRuntimeException",
    "org.apache.flink.util.StateMigrationException",
    # A row that no retry makes any shorter.
    "org.apache.kafka.common.errors.RecordTooLargeException",
)
"""Failures of a job's code and state; those of networks, brokers and Flink's runtime are of other packages."""
_OF_STANDING_STILL = "Checkpoint expired before completing"
"""What Flink says of a checkpoint that does not get through a task which lets nothing through."""
_AT_WORK = 0.5
"""Of the time of one subtask: below, it waits for input."""


def is_of_the_job(failure: Failure) -> bool:
    """Whether it is one of the job's own code or state."""
    return failure.is_python or failure.name.startswith(_ITS_OWN)


def fails_by_its_own(snapshot: Snapshot, health: Health) -> bool:
    """Whether a job that has failed, or can't get on, does so by its own code or state, for which a release may stand.

    What restarts on and on must have failed by them as often as its limits count. Of one that stands still without any
    failure, `stands_still_by_its_own` tells.
    """
    if snapshot.state is not None and snapshot.state.is_terminal:
        newest = snapshot.failures[:1]
    elif snapshot.state is JobState.RUNNING and len(snapshot.recent_failures) <= health.restarts:
        newest = ()
    else:
        newest = snapshot.recent_failures[: health.restarts + 1]
    return bool(newest) and all(is_of_the_job(failure) for failure in newest)


def stands_still_by_its_own(snapshot: Snapshot, health: Health) -> bool:
    """Whether a job that runs reads nothing of what waits for it since what it works at lets nothing through.

    All its tasks have run for longer than a start may take, and one of them is busy, or waits for one that is. A source
    that only waits for its input is given none: by a broker, a network, or whoever keeps a transaction open. So may be
    what a failure of them, or of the cluster, has left behind.
    """
    return (
        snapshot.state is JobState.RUNNING
        and snapshot.tasks_running >= snapshot.tasks_total
        and snapshot.running_ms > milliseconds(health.start_timeout)
        and snapshot.reads_nothing_of_its_input(milliseconds(health.stall))
        and all(is_of_the_job(each) or _OF_STANDING_STILL in each.words for each in snapshot.recent_failures)
        and _is_at_work(snapshot)
    )


def _is_at_work(snapshot: Snapshot) -> bool:
    if (snapshot.backpressured or 0) >= _AT_WORK:
        return True
    subtasks = {work.name: work.parallelism for work in snapshot.work}
    return any(
        max(load.busy, load.backpressured) * subtasks.get(load.name, 1) >= _AT_WORK for load in snapshot.trend.loads
    )
