"""What the REST API answers, as far as Sluice reads it (Flink 2.3). Times are epoch milliseconds, -1 for none."""

from __future__ import annotations

from enum import Enum

from pydantic import BaseModel, ConfigDict, Field


class Answer(BaseModel):
    """Base of the answers."""

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


class Overview(Answer):
    """The cluster's size and load."""

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
    """Every TaskManager that the cluster knows."""

    taskmanagers: tuple[TaskManagerSummary, ...] = ()


class AllocatedSlot(Answer):
    """A task slot that a job holds, whether it has tasks in it or not."""

    job_id: str = Field(alias="jobId")


class TaskManagerDetail(Answer):
    """What a TaskManager's slots are held by."""

    allocated_slots: tuple[AllocatedSlot, ...] = Field((), alias="allocatedSlots")


class Tasks(Answer):
    """How many tasks there are, how many run, and how many have come to their end."""

    total: int
    running: int
    finished: int = 0

    @property
    def are_up(self) -> bool:
        """None of them has yet to run, or to run again."""
        return self.running + self.finished >= self.total


class JobSummary(Answer):
    """A job in the list of jobs."""

    id: str = Field(alias="jid")
    name: str
    state: JobState
    start_time: int = Field(alias="start-time")
    tasks: Tasks


class JobList(Answer):
    """Every job that the cluster remembers, ended ones as well."""

    jobs: tuple[JobSummary, ...]


class Status(Answer):
    """A job's state; unlike the other answers not cached by the cluster."""

    status: JobState


class _ExecutionConfig(Answer):
    user_config: dict[str, str] = Field(default_factory=dict, alias="user-config")


class JobConfig(Answer):
    """A job's configuration."""

    id: str = Field(alias="jid")
    execution: _ExecutionConfig | None = Field(None, alias="execution-config")
    """None: the job is being initialized, or has failed in that."""

    @property
    def parameters(self) -> dict[str, str] | None:
        """The global job parameters; None: Flink does not show them (yet)."""
        return self.execution.user_config if self.execution else None


class VertexTotals(Answer):
    """What the subtasks of a vertex have done since they began, summed; those of one attempt each."""

    read_records: int = Field(0, alias="read-records")
    """A source's records from outside count, too."""
    accumulated_busy_ms: float = Field(0, alias="accumulated-busy-time")
    """NaN where a subtask does not tell."""
    accumulated_backpressured_ms: float = Field(0, alias="accumulated-backpressured-time")
    accumulated_idle_ms: float = Field(0, alias="accumulated-idle-time")


class Vertex(Answer):
    """A job vertex: the chained operators of one task."""

    id: str
    name: str
    parallelism: int
    status: str
    tasks: dict[str, int]
    start_time: int = Field(-1, alias="start-time")
    """When the first of its subtasks began, of the attempts that are current."""
    totals: VertexTotals = Field(VertexTotals(), alias="metrics")

    @property
    def is_source(self) -> bool:
        """It begins with a source."""
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
    """When the job last came into each of its states; 0: never."""
    vertices: tuple[Vertex, ...]

    @property
    def restarted_at(self) -> int:
        """When tasks were last about to begin anew; 0: never."""
        return max(self.timestamps.get(state.value, 0) for state in (JobState.RESTARTING, JobState.FAILING))

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
    """An operation that the cluster has taken on."""

    request_id: str = Field(alias="request-id")


class OperationStatus(Answer):
    """IN_PROGRESS or COMPLETED; completed is not succeeded."""

    id: str

    @property
    def is_done(self) -> bool:
        """It has ended, well or not."""
        return self.id == "COMPLETED"


class _Cause(Answer):
    name: str | None = Field(None, alias="class")
    stack_trace: str = Field("", alias="stack-trace")

    @property
    def words(self) -> str:
        """The cause in one line: the innermost exception's words."""
        lines = [line.strip() for line in self.stack_trace.splitlines() if line.strip() and not line.startswith("\t")]
        return (lines[-1].removeprefix("Caused by: ") if lines else self.name or "unknown")[:500]


class _SavepointOperation(Answer):
    location: str | None = None
    failure: _Cause | None = Field(None, alias="failure-cause")


class SavepointResult(Answer):
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


class _CheckpointOperation(Answer):
    checkpoint_id: int | None = Field(None, alias="checkpointId")
    failure: _Cause | None = Field(None, alias="failureCause")


class CheckpointTrigger(Answer):
    """How a checkpoint that was asked for stands."""

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
    """How a job makes and keeps its checkpoints."""

    interval: int
    timeout: int
    externalization: _Externalization

    @property
    def is_retained(self) -> bool:
        """The newest checkpoints stay when the job is cancelled."""
        return self.externalization.enabled and not self.externalization.delete_on_cancellation


class _SubtaskTime(Answer):
    subtask: int
    timestamps: dict[str, int]


class SubtaskTimes(Answer):
    """When the subtasks of a vertex came into their states."""

    subtasks: tuple[_SubtaskTime, ...]

    @property
    def running_since(self) -> int | None:
        """When the last of them began to run; None: one hasn't yet."""
        since = [item.timestamps.get("RUNNING", 0) for item in self.subtasks]
        return max(since) if since and min(since) > 0 else None
