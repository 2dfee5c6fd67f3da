"""Detect a cluster whose metrics are no longer updated.

A JobManager fetches the metrics of its TaskManagers periodically, one fetch after the other. If a TaskManager is killed
during a fetch, Flink 2.3 waits for its answer for `web.timeout`, ten minutes by default. Until then, or until the
JobManager restarts, no metric of any job or of the JobManager is updated, and the REST API keeps returning the old
values.
"""

from __future__ import annotations

from datetime import timedelta

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import ConfigEntry
from sluice.job.duration import parse_duration

_MOVES = "Status.JVM.CPU.Time"
"""A metric of the JobManager that rises as long as it runs."""
_INTERVAL = "metrics.fetcher.update-interval"
_DEFAULT = timedelta(seconds=10)
_TIMEOUT = "web.timeout"
_DEFAULT_TIMEOUT = timedelta(minutes=10)
_SLACK = 5.0
"""Seconds that two fetches may take in addition to the interval."""
_PAUSE = 0.5


def metrics_are_stale(flink: FlinkClient) -> bool:
    """Whether the cluster's metrics are no longer updated. Waits for a change for at most two fetch intervals.

    Raises:
        FlinkError: the cluster refused the request.
        UnreachableError: the cluster doesn't answer.
    """
    deadline = flink.clock.monotonic() + 2 * fetch_interval(flink.send(calls.cluster_config())).total_seconds() + _SLACK
    first = _moving(flink)
    while True:
        flink.clock.sleep(_PAUSE)
        if _moving(flink) != first:
            return False
        # Only after a second answer: one answer alone, however slow, shows no change.
        if flink.clock.monotonic() > deadline:
            return True


def _moving(flink: FlinkClient) -> str | None:
    found = flink.send(calls.jobmanager_metrics([_MOVES]))
    return found[0].value if found else None


def fetch_interval(configuration: tuple[ConfigEntry, ...]) -> timedelta:
    """The interval at which the JobManager fetches metrics, from the cluster's configuration."""
    return _duration(configuration, _INTERVAL, _DEFAULT)


def fetch_timeout(configuration: tuple[ConfigEntry, ...]) -> timedelta:
    """How long a fetch waits for an answer, and metrics stay stale, from the cluster's configuration."""
    return _duration(configuration, _TIMEOUT, _DEFAULT_TIMEOUT)


def _duration(configuration: tuple[ConfigEntry, ...], key: str, default: timedelta) -> timedelta:
    for entry in configuration:
        if entry.key == key:
            value = f"{entry.value} ms" if entry.value.strip().isdigit() else entry.value
            found = parse_duration(value)
            return found if isinstance(found, timedelta) else default
    return default
