"""What parent and client process say to each other: one JSON object a line.

parent                     client
Build         ->
              <-           Progress (several)
              <-           Ready | Failed
Submit        ->
              <-           Submitted | Failed
(closes standard input: the client and its JVM end, whatever they were doing)
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    def line(self) -> str:
        """The message as one line of JSON, with its line end."""
        return self.model_dump_json() + "\n"


class Build(_Message):
    """Build and compile this job; touch nothing outside."""

    type: Literal["build"] = "build"
    job: str
    module: str
    """The job's module, e.g. `flink_jobs.event_metrics`."""
    code: str
    """Path of the artifact (a zip) or directory that holds the module's package."""
    environment: str
    config: dict[str, Any] = Field(default_factory=dict)
    reads: dict[str, dict[str, Any]] = Field(default_factory=dict)
    writes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    brokers: dict[str, str]
    """Kafka client properties as Java spells them, `bootstrap.servers` among them."""
    parallelism: int = 1
    options: dict[str, str] = Field(default_factory=dict)
    """Flink options of the job."""
    jars: tuple[str, ...] = ()
    """Jars to ship with the job: empty where the cluster's lib/ has the connectors."""
    python_files: tuple[str, ...] = ()
    """What Python workers on the cluster need on their path, beside the artifact."""
    flink_url: str


class Submit(_Message):
    """Submit the prepared job under this Flink job id."""

    type: Literal["submit"] = "submit"
    flink_job_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    savepoint: str | None = None
    allow_non_restored_state: bool = False


class Operator(_Message):
    """An operator of the compiled graph. `id` is what state is stored under."""

    id: str
    uid: str | None
    name: str | None


class Vertex(_Message):
    """A job vertex: chained operators that run in one task."""

    id: str
    name: str
    parallelism: int
    max_parallelism: int
    operators: tuple[Operator, ...]


class Graph(_Message):
    """Facts of a compiled job."""

    vertices: tuple[Vertex, ...]
    slots: int
    """Task slots that the job takes: over its slot sharing groups, the sum of each one's highest parallelism."""
    columns: dict[str, dict[str, str]]
    """Per sink the built table's columns and Flink types."""


class Progress(_Message):
    """A step was done, and how long it took."""

    type: Literal["progress"] = "progress"
    step: str
    seconds: float


class Ready(_Message):
    """Compiled; the client waits for `Submit`."""

    type: Literal["ready"] = "ready"
    graph: Graph


class Submitted(_Message):
    """The cluster has accepted the job."""

    type: Literal["submitted"] = "submitted"
    flink_job_id: str


FailureKind = Literal["config", "compile", "schema", "flink", "unreachable", "internal"]


class Failed(_Message):
    """It did not work; nothing more comes."""

    type: Literal["failed"] = "failed"
    kind: FailureKind
    message: str
    remedy: str | None = None
    detail: str = ""
    """The whole trace, for the log."""


Command = Annotated[Build | Submit, Field(discriminator="type")]
Answer = Annotated[Progress | Ready | Submitted | Failed, Field(discriminator="type")]

COMMAND: TypeAdapter[Build | Submit] = TypeAdapter(Command)
ANSWER: TypeAdapter[Progress | Ready | Submitted | Failed] = TypeAdapter(Answer)
