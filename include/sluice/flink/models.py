"""What the REST API answers, as far as Sluice reads it (Flink 2.3). Times are epoch milliseconds, -1 for none."""

from __future__ import annotations

from enum import Enum
from typing import Any

from pydantic import BaseModel, ConfigDict, Field


class _Answer(BaseModel):
    # Flink adds fields in every release; those that we read are held strictly.
    model_config = ConfigDict(frozen=True, extra="ignore", populate_by_name=True)


class JobState(Enum):
    """A Flink job's state, as `org.apache.flink.api.common.JobStatus` names it."""

    INITIALIZING = "INITIALIZING"
    CREATED = "CREATED"
    RUNNING = "RUNNING"
    FAILING = "FAILING"
    FAILED = "FAILED"
    CANCELLING = "CANCELLING"
    CANCELED = "CANCELED"
    FINISHED = "FINISHED"
    RESTARTING = "RESTARTING"
    SUSPENDED = "SUSPENDED"
    RECONCILING = "RECONCILING"

    @property
    def is_terminal(self) -> bool:
        """The job will never run again under this id."""
        return self in (JobState.FAILED, JobState.CANCELED, JobState.FINISHED)


class Overview(_Answer):
    """The cluster's size and load."""

    taskmanagers: int
    slots_total: int = Field(alias="slots-total")
    slots_available: int = Field(alias="slots-available")
    flink_version: str = Field(alias="flink-version")


class Tasks(_Answer):
    """How many tasks there are, and how many run."""

    total: int
    running: int


class JobSummary(_Answer):
    """A job in the list of jobs."""

    id: str = Field(alias="jid")
    name: str
    state: JobState
    start_time: int = Field(alias="start-time")
    tasks: Tasks


class JobList(_Answer):
    """Every job that the cluster remembers, ended ones as well."""

    jobs: tuple[JobSummary, ...]


class Status(_Answer):
    """A job's state; unlike the other answers not cached by the cluster."""

    status: JobState


class Vertex(_Answer):
    """A job vertex: the chained operators of one task."""

    id: str
    name: str
    parallelism: int
    status: str
    tasks: dict[str, int]


class JobDetail(_Answer):
    """A job with its vertices."""

    id: str = Field(alias="jid")
    name: str
    state: JobState
    start_time: int = Field(alias="start-time")
    end_time: int = Field(-1, alias="end-time")
    now: int
    vertices: tuple[Vertex, ...]

    @property
    def tasks_total(self) -> int:
        """Subtasks of all vertices."""
        return sum(vertex.parallelism for vertex in self.vertices)

    @property
    def tasks_running(self) -> int:
        """Subtasks in state RUNNING."""
        return sum(vertex.tasks.get("RUNNING", 0) for vertex in self.vertices)


class CheckpointCounts(_Answer):
    """How many checkpoints there were since the job began to run."""

    restored: int
    completed: int
    failed: int
    in_progress: int


class Checkpoint(_Answer):
    """A completed checkpoint or savepoint."""

    id: int
    trigger_timestamp: int
    latest_ack_timestamp: int | None = None
    state_size: int | None = None
    external_path: str | None = None
    is_savepoint: bool = False


class Restored(_Answer):
    """What the job was restored from."""

    id: int
    restore_timestamp: int
    is_savepoint: bool
    external_path: str | None = None


class LatestCheckpoints(_Answer):
    """The newest of each kind."""

    completed: Checkpoint | None = None
    savepoint: Checkpoint | None = None
    restored: Restored | None = None


class Checkpoints(_Answer):
    """A job's checkpoints."""

    counts: CheckpointCounts
    latest: LatestCheckpoints


class ExceptionEntry(_Answer):
    """A failure of the job."""

    timestamp: int
    exception_name: str | None = Field(None, alias="exceptionName")
    stacktrace: str = ""

    @property
    def words(self) -> str:
        """The failure and its root cause, a line."""
        lines = [line.strip() for line in self.stacktrace.splitlines() if line.strip()]
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        return (causes[-1] if causes else lines[0] if lines else self.exception_name or "unknown")[:500]


class ExceptionHistory(_Answer):
    """A job's failures, newest first."""

    entries: tuple[ExceptionEntry, ...] = ()


class Exceptions(_Answer):
    """A job's failures, as the API wraps them."""

    history: ExceptionHistory = Field(ExceptionHistory(), alias="exceptionHistory")


class Metric(_Answer):
    """A metric of a vertex: `<subtask>.<operator>.<name>` and its value as text."""

    id: str
    value: str | None = None


class MetricAggregate(_Answer):
    """A metric over a vertex's subtasks."""

    id: str
    sum: float | None = None


class ConfigEntry(_Answer):
    """An option of the JobManager."""

    key: str
    value: str


class Trigger(_Answer):
    """An operation that the cluster has taken on."""

    request_id: str = Field(alias="request-id")


class OperationStatus(_Answer):
    """IN_PROGRESS or COMPLETED; completed is not succeeded."""

    id: str

    @property
    def is_done(self) -> bool:
        """It has ended, well or not."""
        return self.id == "COMPLETED"


class _Cause(_Answer):
    name: str | None = Field(None, alias="class")
    stack_trace: str = Field("", alias="stack-trace")

    @property
    def words(self) -> str:
        """The cause in one line: the innermost exception's words."""
        lines = [line.strip() for line in self.stack_trace.splitlines() if line.strip() and not line.startswith("\t")]
        return (lines[-1].removeprefix("Caused by: ") if lines else self.name or "unknown")[:500]


class _SavepointOperation(_Answer):
    location: str | None = None
    failure: _Cause | None = Field(None, alias="failure-cause")


class SavepointResult(_Answer):
    """How a savepoint stands."""

    status: OperationStatus
    operation: _SavepointOperation | None = None

    @property
    def location(self) -> str | None:
        """Where it lies; None: it isn't done, or it failed."""
        return self.operation.location if self.operation else None

    @property
    def failure(self) -> str | None:
        """Why it failed; None: it has not."""
        cause = self.operation.failure if self.operation else None
        return cause.words if cause else None


class _CheckpointOperation(_Answer):
    checkpoint_id: int | None = Field(None, alias="checkpointId")
    failure: _Cause | None = Field(None, alias="failureCause")


class CheckpointTrigger(_Answer):
    """How a checkpoint that was asked for stands."""

    status: OperationStatus
    operation: _CheckpointOperation | None = None

    @property
    def failure(self) -> str | None:
        """Why it failed; None: it has not."""
        cause = self.operation.failure if self.operation else None
        return cause.words if cause else None


class _Externalization(_Answer):
    enabled: bool
    delete_on_cancellation: bool


class CheckpointConfig(_Answer):
    """How a job makes and keeps its checkpoints."""

    interval: int
    timeout: int
    externalization: _Externalization

    @property
    def is_retained(self) -> bool:
        """The newest checkpoints stay when the job is cancelled."""
        return self.externalization.enabled and not self.externalization.delete_on_cancellation


class _SubtaskTime(_Answer):
    subtask: int
    timestamps: dict[str, int]


class SubtaskTimes(_Answer):
    """When the subtasks of a vertex came into their states."""

    subtasks: tuple[_SubtaskTime, ...]

    @property
    def running_since(self) -> int | None:
        """When the last of them began to run; None: one hasn't yet."""
        since = [item.timestamps.get("RUNNING", 0) for item in self.subtasks]
        return max(since) if since and min(since) > 0 else None


JSON = dict[str, Any]
