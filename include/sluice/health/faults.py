"""Whose fault a failure is: the job's, or that of what it runs on. Pure."""

from __future__ import annotations

from sluice.flink.models import JobState
from sluice.health.snapshot import Failure, Snapshot
from sluice.job.limits import Health

_ITS_OWN = (
    "java.lang.",
    "org.apache.flink.table.api.TableRuntimeException",
    "org.apache.flink.util.StateMigrationException",
)
"""Failures of a job's code and state; those of networks, brokers and Flink's runtime are of other packages."""


def is_of_the_job(failure: Failure) -> bool:
    """Whether it is one of the job's own code or state."""
    return failure.name.startswith(_ITS_OWN)


def fails_by_its_own(snapshot: Snapshot, health: Health) -> bool:
    """Whether a job that has failed, or can't get on, does so by its own code or state, for which a release may stand.

    What restarts on and on must have failed by them as often as its limits count. A job that stands still without any
    failure shows no cause: it may be waiting for a broker.
    """
    if snapshot.state is not None and snapshot.state.is_terminal:
        newest = snapshot.failures[:1]
    elif snapshot.state is JobState.RUNNING and len(snapshot.recent_failures) <= health.restarts:
        newest = ()
    else:
        newest = snapshot.recent_failures[: health.restarts + 1]
    return bool(newest) and all(is_of_the_job(failure) for failure in newest)
