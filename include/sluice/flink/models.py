"""The fields of the REST API's answers that Sluice reads (Flink 2.3). Times are epoch milliseconds, -1 for none."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base of the answers."""

    # Flink adds fields in every release, which are ignored; the fields that Sluice reads are validated.
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
        """Whether the job will never run again under this id."""
        return self in (JobState.FAILED, JobState.CANCELED, JobState.FINISHED)


class Overview(Answer):
    """The cluster's TaskManagers, slots and version."""

    taskmanagers: int
    slots_total: int = Field(alias="slots-total")
    slots_available: int = Field(alias="slots-available")
    flink_version: str = Field(alias="flink-version")


class TaskManagerSummary(Answer):
    """A TaskManager in the list of them."""

    id: str
    slots_number: int = Field(alias="slotsNumber")
    free_slots: int = Field(alias="freeSlots")


class TaskManagerList(Answer):
    """All TaskManagers that are registered."""

    taskmanagers: tuple[TaskManagerSummary, ...] = ()


class AllocatedSlot(Answer):
    """A task slot that is allocated to a job, whether tasks run in it or not."""

    job_id: str = Field(alias="jobId")


class TaskManagerDetail(Answer):
    """The allocated slots of a TaskManager."""

    allocated_slots: tuple[AllocatedSlot, ...] = Field((), alias="allocatedSlots")


class Tasks(Answer):
    """Numbers of tasks: in all, running, and finished."""

    total: int
    running: int
    finished: int = 0

    @property
    def are_up(self) -> bool:
        """Whether every task is running or finished."""
        return self.running + self.finished >= self.total


class JobSummary(Answer):
    """A job in the list of jobs."""

    id: str = Field(alias="jid")
    name: str
    state: JobState
    start_time: int = Field(alias="start-time")
    tasks: Tasks


class JobList(Answer):
    """Every job that the cluster knows, including ended jobs."""

    jobs: tuple[JobSummary, ...]


class Status(Answer):
    """A job's state; the cluster doesn't cache this answer."""

    status: JobState


class _ExecutionConfig(Answer):
    user_config: dict[str, str] = Field(default_factory=dict, alias="user-config")


class JobConfig(Answer):
    """A job's configuration."""

    id: str = Field(alias="jid")
    execution: _ExecutionConfig | None = Field(None, alias="execution-config")
    """None: the job is initializing, or its initialization failed."""

    @property
    def parameters(self) -> dict[str, str] | None:
        """The global job parameters; None: Flink does not return them (yet)."""
        return self.execution.user_config if self.execution else None


class VertexTotals(Answer):
    """Totals over the subtasks of a vertex, for their current attempts."""

    read_records: int = Field(0, alias="read-records")
    """Includes the records that a source reads from outside Flink."""
    accumulated_busy_ms: float = Field(0, alias="accumulated-busy-time")
    """NaN if a subtask does not report it."""
    accumulated_backpressured_ms: float = Field(0, alias="accumulated-backpressured-time")
    accumulated_idle_ms: float = Field(0, alias="accumulated-idle-time")


class Vertex(Answer):
    """A job vertex: a chain of operators that runs as one task."""

    id: str
    name: str
    parallelism: int
    status: str
    tasks: dict[str, int]
    start_time: int = Field(-1, alias="start-time")
    """When the first subtask of the current attempts started."""
    totals: VertexTotals = Field(VertexTotals(), alias="metrics")

    @property
    def is_source(self) -> bool:
        """Whether the vertex begins with a source."""
        return self.name.startswith("Source:")


class JobDetail(Answer):
    """A job with its vertices."""

    id: str = Field(alias="jid")
    name: str
    state: JobState
    start_time: int = Field(alias="start-time")
    end_time: int = Field(-1, alias="end-time")
    now: int
    """The JobManager's clock."""
    timestamps: dict[str, int] = Field(default_factory=dict)
    """When the job last entered each state; 0: never."""
    vertices: tuple[Vertex, ...]

    @property
    def restarted_at(self) -> int:
        """When the job last entered RESTARTING or FAILING; 0: never."""
        return max(self.timestamps.get(state.value, 0) for state in (JobState.RESTARTING, JobState.FAILING))

    @property
    def tasks_began_at(self) -> int:
        """When the newest of the job's tasks started or began to restart."""
        return max([self.restarted_at, *(vertex.start_time for vertex in self.vertices)])

    @property
    def tasks_total(self) -> int:
        """Subtasks of all vertices."""
        return sum(vertex.parallelism for vertex in self.vertices)

    @property
    def tasks_running(self) -> int:
        """Subtasks in state RUNNING."""
        return sum(vertex.tasks.get("RUNNING", 0) for vertex in self.vertices)


class ConfigEntry(Answer):
    """An option of the JobManager."""

    key: str
    value: str


class Trigger(Answer):
    """The trigger id of an asynchronous operation that the cluster has accepted."""

    request_id: str = Field(alias="request-id")


class OperationStatus(Answer):
    """IN_PROGRESS or COMPLETED; a completed operation may have failed."""

    id: str

    @property
    def is_done(self) -> bool:
        """Whether the operation has ended, with success or failure."""
        return self.id == "COMPLETED"


class _Cause(Answer):
    name: str | None = Field(None, alias="class")
    stack_trace: str = Field("", alias="stack-trace")

    @property
    def words(self) -> str:
        """The innermost exception in one line."""
        lines = [line.strip() for line in self.stack_trace.splitlines() if line.strip() and not line.startswith("\t")]
        return (lines[-1].removeprefix("Caused by: ") if lines else self.name or "unknown")[:500]


class _SavepointOperation(Answer):
    location: str | None = None
    failure: _Cause | None = Field(None, alias="failure-cause")


class SavepointResult(Answer):
    """The status and result of a savepoint."""

    status: OperationStatus
    operation: _SavepointOperation | None = None

    @property
    def location(self) -> str | None:
        """The path of the savepoint; None: it isn't complete, or it failed."""
        return self.operation.location if self.operation else None

    @property
    def failure(self) -> str | None:
        """Why it failed; None: it has not."""
        cause = self.operation.failure if self.operation else None
        return cause.words if cause else None


class _CheckpointOperation(Answer):
    checkpoint_id: int | None = Field(None, alias="checkpointId")
    failure: _Cause | None = Field(None, alias="failureCause")


class CheckpointTrigger(Answer):
    """The status and result of a triggered checkpoint."""

    status: OperationStatus
    operation: _CheckpointOperation | None = None

    @property
    def failure(self) -> str | None:
        """Why it failed; None: it has not."""
        cause = self.operation.failure if self.operation else None
        return cause.words if cause else None


class _Externalization(Answer):
    enabled: bool
    delete_on_cancellation: bool


class CheckpointConfig(Answer):
    """A job's checkpoint configuration; times in milliseconds."""

    interval: int
    timeout: int
    externalization: _Externalization

    @property
    def is_retained(self) -> bool:
        """Whether the newest checkpoints are retained when the job is cancelled."""
        return self.externalization.enabled and not self.externalization.delete_on_cancellation


class _SubtaskTime(Answer):
    subtask: int
    timestamps: dict[str, int]


class SubtaskTimes(Answer):
    """When the subtasks of a vertex entered their states."""

    subtasks: tuple[_SubtaskTime, ...]

    @property
    def running_since(self) -> int | None:
        """When the last subtask entered RUNNING; None: one has not yet."""
        since = [item.timestamps.get("RUNNING", 0) for item in self.subtasks]
        return max(since) if since and min(since) > 0 else None
