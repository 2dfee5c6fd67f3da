"""Whether a cluster still tells what goes on in it.

A JobManager fetches the metrics of its TaskManagers one time after the other. Where a TaskManager is killed in the
moment in which it is asked, Flink 2.3 waits for its answer for ever: it fetches none again, of no job and not of
itself, until the JobManager is restarted, and its REST API goes on with those that it has.
"""

from __future__ import annotations

import time
from datetime import timedelta

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.job.duration import parse_duration

_MOVES = "Status.JVM.CPU.Time"
"""The JobManager's own: one that runs uses time."""
_INTERVAL = "metrics.fetcher.update-interval"
_DEFAULT = timedelta(seconds=10)
_SLACK = 5.0
"""Seconds that a fetch may take beside."""
_PAUSE = 0.5


def stands_still(flink: FlinkClient) -> bool:
    """Whether the cluster's metrics don't change; waits until one does, for as long as two fetches may take.

    Raises:
        FlinkError: the cluster said no.
        UnreachableError: it doesn't answer.
    """
    deadline = time.monotonic() + 2 * _interval(flink).total_seconds() + _SLACK
    first = _moving(flink)
    while True:
        time.sleep(_PAUSE)
        if _moving(flink) != first:
            return False
        # However slow the answers are: a single one tells nothing.
        if time.monotonic() > deadline:
            return True


def _moving(flink: FlinkClient) -> str | None:
    found = flink.send(calls.jobmanager_metrics([_MOVES]))
    return found[0].value if found else None


def _interval(flink: FlinkClient) -> timedelta:
    """How often the JobManager fetches metrics."""
    for entry in flink.send(calls.cluster_config()):
        if entry.key == _INTERVAL:
            value = f"{entry.value} ms" if entry.value.strip().isdigit() else entry.value
            found = parse_duration(value)
            return found if isinstance(found, timedelta) else _DEFAULT
    return _DEFAULT
