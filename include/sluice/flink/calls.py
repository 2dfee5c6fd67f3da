"""The REST requests that Sluice makes to Flink, as values with the type of the answer."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import quote

from pydantic import TypeAdapter

from sluice.flink.history import Checkpoints, Exceptions
from sluice.flink.job_plan import JobPlan
from sluice.flink.metrics import Metric, MetricAggregate
from sluice.flink.models import (
    CheckpointConfig,
    CheckpointTrigger,
    ConfigEntry,
    JobConfig,
    JobDetail,
    JobList,
    Overview,
    SavepointResult,
    Status,
    SubtaskTimes,
    TaskManagerDetail,
    TaskManagerList,
    Trigger,
)

T = TypeVar("T")


@dataclass(frozen=True)
class Call(Generic[T]):
    """One request to the REST API.

    Attributes:
        path: The path below the cluster's address.
        answer: The type that the response body is validated as.
        method: GET, POST, PATCH or DELETE.
        params: The query parameters.
        body: The JSON body; None: no body.
        repeatable: Sending it twice has the same effect as sending it once.
    """

    path: str
    answer: TypeAdapter[T]
    method: str = "GET"
    params: dict[str, str] = field(default_factory=dict)
    body: dict[str, Any] | None = None
    # A POST with a trigger id chosen by the caller is repeatable: Flink runs each trigger id once.
    repeatable: bool = True

    @property
    def job_id(self) -> str | None:
        """The Flink job id in the path; None: the path has none."""
        found = _JOB_ID.match(self.path)
        return found[1] if found else None


_JOB_ID = re.compile(r"/jobs/(?!overview$)([^/]+)")
_QUERY_BYTES = 3_600
"""The longest list of names in a query: Flink's server accepts request lines of up to 4,096 bytes, of which the path
takes 130, and the path prefix of a proxy may take more."""

_OVERVIEW = TypeAdapter(Overview)
_TASK_MANAGERS = TypeAdapter(TaskManagerList)
_TASK_MANAGER = TypeAdapter(TaskManagerDetail)
_JOBS = TypeAdapter(JobList)
_DETAIL = TypeAdapter(JobDetail)
_STATUS = TypeAdapter(Status)
_JOB_CONFIG = TypeAdapter(JobConfig)
_PLAN = TypeAdapter(JobPlan)
_CHECKPOINTS = TypeAdapter(Checkpoints)
_EXCEPTIONS = TypeAdapter(Exceptions)
_METRICS = TypeAdapter(tuple[Metric, ...])
_AGGREGATES = TypeAdapter(tuple[MetricAggregate, ...])
_CONFIG = TypeAdapter(tuple[ConfigEntry, ...])
_CHECKPOINT_CONFIG = TypeAdapter(CheckpointConfig)
_TRIGGER = TypeAdapter(Trigger)
_SAVEPOINT = TypeAdapter(SavepointResult)
_CHECKPOINT = TypeAdapter(CheckpointTrigger)
_TIMES = TypeAdapter(SubtaskTimes)
_NOTHING: TypeAdapter[Any] = TypeAdapter(Any)


def overview() -> Call[Overview]:
    """The cluster's slots and version."""
    return Call("/overview", _OVERVIEW)


def task_managers() -> Call[TaskManagerList]:
    """Every TaskManager with its slots and free slots."""
    return Call("/taskmanagers", _TASK_MANAGERS)


def task_manager(number: str) -> Call[TaskManagerDetail]:
    """The jobs that hold the slots of a TaskManager."""
    return Call(f"/taskmanagers/{quote(number, safe=':')}", _TASK_MANAGER)


def cluster_config() -> Call[tuple[ConfigEntry, ...]]:
    """The JobManager's options."""
    return Call("/jobmanager/config", _CONFIG)


def jobs() -> Call[JobList]:
    """Every job that the cluster knows, including ended jobs."""
    return Call("/jobs/overview", _JOBS)


def job(job_id: str) -> Call[JobDetail]:
    """A job's vertices and tasks; up to `web.refresh-interval` (3 s) old."""
    return Call(f"/jobs/{job_id}", _DETAIL)


def status(job_id: str) -> Call[Status]:
    """A job's current state; the cluster doesn't cache this answer."""
    return Call(f"/jobs/{job_id}/status", _STATUS)


def job_config(job_id: str) -> Call[JobConfig]:
    """The parameters that a job was submitted with."""
    return Call(f"/jobs/{job_id}/config", _JOB_CONFIG)


def plan(job_id: str) -> Call[JobPlan]:
    """The vertices of a job with descriptions of their operators."""
    return Call(f"/jobs/{job_id}/plan", _PLAN)


def checkpoints(job_id: str) -> Call[Checkpoints]:
    """A job's checkpoints; up to `web.refresh-interval` old."""
    return Call(f"/jobs/{job_id}/checkpoints", _CHECKPOINTS)


def exceptions(job_id: str) -> Call[Exceptions]:
    """A job's failures, newest first; the cluster keeps `web.exception-history-size` (16) of them."""
    return Call(f"/jobs/{job_id}/exceptions", _EXCEPTIONS, params={"maxExceptions": "20"})


def job_metrics(job_id: str, names: Iterable[str]) -> Call[tuple[Metric, ...]]:
    """Values of a job's own metrics, e.g. `numRestarts`."""
    return Call(f"/jobs/{job_id}/metrics", _METRICS, params={"get": ",".join(names)})


def jobmanager_metrics(names: Iterable[str]) -> Call[tuple[Metric, ...]]:
    """Values of the JobManager's own metrics, as of its last fetch of metrics."""
    return Call("/jobmanager/metrics", _METRICS, params={"get": ",".join(names)})


def watermarks(job_id: str, vertex_id: str) -> Call[tuple[Metric, ...]]:
    """The current watermark of each subtask of a vertex in epoch milliseconds; a subtask without one is left out."""
    return Call(f"/jobs/{job_id}/vertices/{vertex_id}/watermarks", _METRICS)


def aggregate_names(job_id: str, vertex_id: str) -> Call[tuple[MetricAggregate, ...]]:
    """The names of a vertex's metrics without the subtask index; empty until the cluster has fetched metrics once."""
    return Call(f"/jobs/{job_id}/vertices/{vertex_id}/subtasks/metrics", _AGGREGATES)


def aggregates(job_id: str, vertex_id: str, names: Iterable[str]) -> Iterator[Call[tuple[MetricAggregate, ...]]]:
    """Minimum, maximum and sum of metrics over the subtasks that have them, in as many requests as the names need.

    Names are without the subtask index. The answer leaves out a name that no subtask has.
    """
    for some in _batches(names):
        yield Call(
            f"/jobs/{job_id}/vertices/{vertex_id}/subtasks/metrics",
            _AGGREGATES,
            params={"get": ",".join(some), "agg": "min,max,sum"},
        )


def vertex_metrics(job_id: str, vertex_id: str, names: Iterable[str]) -> Iterator[Call[tuple[Metric, ...]]]:
    """Metrics of subtasks by `<subtask>.<operator>.<name>`, also text ones, in as many requests as the names need."""
    for some in _batches(names):
        yield Call(f"/jobs/{job_id}/vertices/{vertex_id}/metrics", _METRICS, params={"get": ",".join(some)})


def cancel(job_id: str) -> Call[Any]:
    """Cancel a job without a savepoint; retained checkpoints stay."""
    return Call(f"/jobs/{job_id}", _NOTHING, method="PATCH", params={"mode": "cancel"})


def stop(job_id: str, trigger_id: str, directory: str | None, savepoint_format: str) -> Call[Trigger]:
    """Stop a job with a savepoint, once per trigger id. It doesn't drain: windows stay open in the savepoint.

    Args:
        job_id: The job.
        trigger_id: Chosen by the caller: 32 hexadecimal digits.
        directory: The target directory; None: the cluster's savepoint directory.
        savepoint_format: NATIVE or CANONICAL.
    """
    body = {"drain": False, "triggerId": trigger_id, "formatType": savepoint_format}
    return _trigger(f"/jobs/{job_id}/stop", {**body, **({"targetDirectory": directory} if directory else {})})


def savepoint(job_id: str, trigger_id: str, directory: str | None, savepoint_format: str) -> Call[Trigger]:
    """Take a savepoint of a job and let it run on, once per trigger id."""
    body = {"triggerId": trigger_id, "formatType": savepoint_format}
    return _trigger(f"/jobs/{job_id}/savepoints", {**body, **({"target-directory": directory} if directory else {})})


def savepoint_result(job_id: str, trigger_id: str) -> Call[SavepointResult]:
    """The progress of a savepoint (with or without a stop); 404 if the JobManager no longer knows the trigger."""
    return Call(f"/jobs/{job_id}/savepoints/{trigger_id}", _SAVEPOINT)


def take_checkpoint(job_id: str, trigger_id: str) -> Call[Trigger]:
    """Take a checkpoint now, full or incremental as the job is configured, once per trigger id."""
    return _trigger(f"/jobs/{job_id}/checkpoints", {"triggerId": trigger_id, "checkpointType": "CONFIGURED"})


def checkpoint_result(job_id: str, trigger_id: str) -> Call[CheckpointTrigger]:
    """The progress of a triggered checkpoint; 404 if the JobManager no longer knows the trigger."""
    return Call(f"/jobs/{job_id}/checkpoints/{trigger_id}", _CHECKPOINT)


def checkpoint_config(job_id: str) -> Call[CheckpointConfig]:
    """A job's checkpoint configuration."""
    return Call(f"/jobs/{job_id}/checkpoints/config", _CHECKPOINT_CONFIG)


def subtask_times(job_id: str, vertex_id: str) -> Call[SubtaskTimes]:
    """When each subtask of a vertex entered each of its states."""
    return Call(f"/jobs/{job_id}/vertices/{vertex_id}/subtasktimes", _TIMES)


def dispose(path: str) -> Call[Trigger]:
    """Delete a savepoint asynchronously; see `disposal_result`."""
    return _trigger("/savepoint-disposal", {"savepoint-path": path})


def disposal_result(trigger_id: str) -> Call[SavepointResult]:
    """The progress of a savepoint's deletion; 404 if the JobManager no longer knows the trigger."""
    return Call(f"/savepoint-disposal/{trigger_id}", _SAVEPOINT)


def _trigger(path: str, body: dict[str, Any]) -> Call[Trigger]:
    return Call(path, _TRIGGER, method="POST", body=body)


def _batches(names: Iterable[str]) -> Iterator[list[str]]:
    """Split the names, in order, into batches that each fit into one query."""
    batch: list[str] = []
    size = 0
    for name in names:
        length = len(quote(name, safe="")) + len("%2C")
        if batch and size + length > _QUERY_BYTES:
            yield batch
            batch, size = [], 0
        batch.append(name)
        size += length
    if batch:
        yield batch
