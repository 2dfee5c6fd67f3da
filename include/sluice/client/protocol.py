"""What parent and client process say to each other: one JSON object a line.

Each line is an `Order` or a `Reply`. The parent numbers its orders from 1, and each reply carries the number of its
order: one that comes too late is never taken for the answer to the next order.

parent                     client
Inspect       ->           (at any time, any number of times)
              <-           State | Failed
Find          ->           (at any time, any number of times)
              <-           Found | Failed
Build         ->           (once)
              <-           Progress (several)
              <-           Ready | Failed
Submit        ->
              <-           Submitted | Failed
(closes standard input: the client and its JVM end, whatever they were doing)
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sluice.flink.access import Tls

RELEASE = "sluice.release"
"""The global job parameter that names the release that was submitted."""


class _Message(BaseModel):
    # What an order holds is nobody's business who reads of its being wrong.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _Line(_Message):
    number: int
    """The order's: 1 for the first one, then one more each time."""

    def line(self) -> str:
        """One line of JSON, with its line end."""
        return self.model_dump_json() + "\n"


class Part(_Message):
    """A bounded part of a job's history, instead of the endless run."""

    name: str
    """Names the Flink job, and with the job's own the consumer group and the transactional ids."""
    offsets: dict[str, dict[int, tuple[int, int]]]
    """Per read and partition the first offset, and the one before which it ends."""
    begins: str
    ends: str
    """The fields of a row that say what it covers."""
    since_ms: int
    """The first moment at which a row may begin, epoch milliseconds."""
    before_ms: int
    """Rows begin before it."""
    until_ms: int
    """The last moment at which a row may end."""


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
    flink_tls: Tls = Tls()
    """The login is in the client's environment: see `sluice.client.address.login_variables`."""
    carry_over: bool = False
    """Sources without state begin where the consumer group stands, not where the topic is declared to begin."""
    part: Part | None = None
    """Run this part of the history; None: from where it stands, without an end."""


class Inspect(_Message):
    """Read what a checkpoint or savepoint holds."""

    type: Literal["inspect"] = "inspect"
    path: str


class Find(_Message):
    """Find the newest complete checkpoint or savepoint directly below these directories."""

    type: Literal["find"] = "find"
    directories: tuple[str, ...]


class Submit(_Message):
    """Submit the prepared job under this Flink job id."""

    type: Literal["submit"] = "submit"
    flink_job_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    savepoint: str | None = None
    release: int | None = None
    """Shown among the job's parameters, as `sluice.release`; None: it isn't."""
    allow_non_restored_state: bool = False


class Operator(_Message):
    """An operator of the compiled graph. `id` is what state is stored under."""

    id: str
    uid: str | None
    name: str | None
    description: str = ""
    """What it computes, as Flink describes it: keys, window, aggregates. Of a DataStream operator, its name."""
    inputs: tuple[str, ...] = ()
    """The ids of the operators that it reads from, in the order of its inputs."""
    types: tuple[str, ...] = ()
    """The type of each input's rows, as far as Flink tells; of the keys, too, where it is keyed."""


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
    digest: str
    """SHA-256 over what the cluster would run: two releases with the same one behave alike."""


class Progress(_Message):
    """A step was done, and how long it took."""

    type: Literal["progress"] = "progress"
    step: str
    seconds: float


class Ready(_Message):
    """Compiled; the client waits for `Submit`."""

    type: Literal["ready"] = "ready"
    graph: Graph


class OperatorState(_Message):
    """What a checkpoint holds of one operator."""

    id: str
    name: str | None
    parallelism: int
    max_parallelism: int
    size: int
    """Bytes."""


class State(_Message):
    """What a checkpoint or savepoint holds."""

    type: Literal["state"] = "state"
    checkpoint_id: int
    operators: tuple[OperatorState, ...]
    """Those that hold state."""
    positions: dict[str, dict[int, int]]
    """Per topic and partition the next offset that its sources would read."""


class Found(_Message):
    """The newest complete one; None: there is none."""

    type: Literal["found"] = "found"
    path: str | None
    checkpoint_id: int | None


class Submitted(_Message):
    """The cluster has accepted the job."""

    type: Literal["submitted"] = "submitted"
    flink_job_id: str


FailureKind = Literal["config", "compile", "schema", "flink", "unreachable", "state", "internal"]


class Failed(_Message):
    """It did not work; after a question about checkpoints the client goes on, otherwise nothing more comes."""

    type: Literal["failed"] = "failed"
    kind: FailureKind
    message: str
    remedy: str | None = None
    detail: str = ""
    """The whole trace, for the log."""


Command = Annotated[Build | Inspect | Find | Submit, Field(discriminator="type")]
Answer = Annotated[Progress | Ready | State | Found | Submitted | Failed, Field(discriminator="type")]


class Order(_Line):
    """A line from the parent."""

    command: Command


class Reply(_Line):
    """A line from the client."""

    answer: Answer
