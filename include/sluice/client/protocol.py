"""The protocol between the parent and a client process: one JSON object per line.

Two programs speak it: `python -m sluice.client`, which compiles jobs, and the Java class sluice.client.Submitter, which
knows all orders but `Build`, and takes another `Load` after each `Submit`.

Each line is an `Order` or a `Reply`. The parent numbers its orders from 1, and each reply has the number of its order,
so that a late reply is never mistaken for the answer to the next order.

parent                     client
Inspect       ->           (at any time, any number of times)
              <-           State | Failed
Find          ->           (at any time, any number of times)
              <-           Found | Failed
Build         ->           (once, or Load)
              <-           Progress (several)
              <-           Ready | Failed
Load          ->           (once, or Build)
              <-           Loaded | Failed
Submit        ->
              <-           Submitted | Failed
(closes standard input: the client and its JVM end, whatever they were doing)
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sluice.flink.access import Tls

RELEASE = "sluice.release"
"""The global job parameter with the number of the submitted release."""


class _Message(BaseModel):
    # An order may contain secrets, which a validation error must not show.
    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)


class _Line(_Message):
    number: int
    """The order's number: 1 for the first, then counting up."""

    def line(self) -> str:
        """The message as one line of JSON, with a newline."""
        return self.model_dump_json() + "\n"


class Part(_Message):
    """A bounded part of a job's history, to be replayed instead of an unbounded run."""

    name: str
    """Name of the Flink job; it is also part of the consumer group and the transactional ids."""
    offsets: dict[str, dict[int, tuple[int, int]]]
    """By read and partition: the first offset, and the end offset (exclusive)."""
    begins: str
    ends: str
    """The fields with begin and end of the event time that a row covers."""
    since_ms: int
    """Rows begin at or after this time, epoch milliseconds."""
    before_ms: int
    """Rows begin before this time, epoch milliseconds."""
    until_ms: int
    """Rows end at or before this time, epoch milliseconds."""


class Build(_Message):
    """Build and compile this job, without any effect on the cluster or the brokers."""

    type: Literal["build"] = "build"
    job: str
    module: str
    """The job's module, e.g. `flink_jobs.event_metrics`."""
    code: str
    """Path of the artifact (a zip) or directory that contains the module's package."""
    environment: str
    config: dict[str, Any] = Field(default_factory=dict)
    reads: dict[str, dict[str, Any]] = Field(default_factory=dict)
    writes: dict[str, dict[str, Any]] = Field(default_factory=dict)
    brokers: dict[str, str]
    """Properties of the Java Kafka client, including `bootstrap.servers`."""
    parallelism: int = 1
    options: dict[str, str] = Field(default_factory=dict)
    """Flink options of the job."""
    jars: tuple[str, ...] = ()
    """Jars to ship with the job: empty if the cluster's lib/ has the connectors."""
    python_files: tuple[str, ...] = ()
    """Files that Python workers on the cluster need on their path, in addition to the artifact."""
    flink_url: str
    flink_tls: Tls = Tls()
    """TLS settings; the login is in the client's environment: see `sluice.client.address.login_variables`."""
    carry_over: bool = False
    """Sources without state begin at the committed offsets of the consumer group instead of the declared start."""
    part: Part | None = None
    """Replay this part of the history; None: an unbounded run."""


class Load(_Message):
    """Take over a graph that another client has compiled, without the job's code."""

    type: Literal["load"] = "load"
    job: str
    content: str
    """`Ready.content`. Its origin must be certain: Java deserializes it."""
    options: dict[str, str]
    """The options of Flink's REST client: address and TLS. The files that they name exist until the answer."""


class Inspect(_Message):
    """Read the metadata of a checkpoint or savepoint."""

    type: Literal["inspect"] = "inspect"
    path: str


class Find(_Message):
    """Find the newest complete checkpoint or savepoint among the direct children of these directories."""

    type: Literal["find"] = "find"
    directories: tuple[str, ...]


class Submit(_Message):
    """Submit the prepared job under this Flink job id."""

    type: Literal["submit"] = "submit"
    flink_job_id: Annotated[str, Field(pattern=r"^[0-9a-f]{32}$")]
    savepoint: str | None = None
    release: int | None = None
    """The release's number, set as the job parameter `sluice.release`; None: not set."""
    allow_non_restored_state: bool = False


class Operator(_Message):
    """An operator of the compiled graph. Its state is stored under `id`."""

    id: str
    uid: str | None
    name: str | None
    description: str = ""
    """Flink's description of what it computes: keys, window, aggregates. For a DataStream operator, its name."""
    inputs: tuple[str, ...] = ()
    """The ids of the operators that it reads from, in the order of its inputs."""
    types: tuple[str, ...] = ()
    """The row type of each input, as far as Flink knows it; then the key type of a keyed operator."""


class Vertex(_Message):
    """A job vertex: a chain of operators that runs as one task."""

    id: str
    name: str
    parallelism: int
    max_parallelism: int
    operators: tuple[Operator, ...]


class Graph(_Message):
    """The compiled graph of a job."""

    vertices: tuple[Vertex, ...]
    slots: int
    """Task slots that the job needs: the sum over its slot sharing groups of each group's highest parallelism."""
    columns: dict[str, dict[str, str]]
    """By sink: the columns and Flink types of the pipeline's table."""
    digest: str
    """SHA-256 over what the cluster would run: releases with equal digests behave equally."""
    extra_sinks: tuple[str, ...] = ()
    """What the pipeline writes besides the tables that it returns: name, with the call and its line."""


class Progress(_Message):
    """A step is done, and how long it took."""

    type: Literal["progress"] = "progress"
    step: str
    seconds: float


class Ready(_Message):
    """The job is compiled; the client waits for `Submit`."""

    type: Literal["ready"] = "ready"
    graph: Graph
    content: str | None = None
    """The JobGraph, serialized by Java, in base64. It contains the secrets of the order. None: the order had a part."""
    files: tuple[str, ...] = ()
    """The files of this machine that a submission of the graph uploads."""


class Loaded(_Message):
    """The graph was taken over; the client waits for `Submit`."""

    type: Literal["loaded"] = "loaded"


class OperatorState(_Message):
    """The state of one operator in a checkpoint."""

    id: str
    name: str | None
    parallelism: int
    max_parallelism: int
    size: int
    """Bytes."""


class State(_Message):
    """The metadata of a checkpoint or savepoint."""

    type: Literal["state"] = "state"
    checkpoint_id: int
    operators: tuple[OperatorState, ...]
    """The operators that have state."""
    positions: dict[str, dict[int, int]]
    """By topic and partition: the next offset that the sources would read."""


class Found(_Message):
    """The newest complete checkpoint or savepoint; None: there is none."""

    type: Literal["found"] = "found"
    path: str | None
    checkpoint_id: int | None


class Submitted(_Message):
    """The cluster has accepted the job."""

    type: Literal["submitted"] = "submitted"
    flink_job_id: str


FailureKind = Literal["config", "compile", "schema", "flink", "unreachable", "state", "internal"]


class Failed(_Message):
    """An order failed. After `Inspect` and `Find` the client takes further orders; otherwise it ends."""

    type: Literal["failed"] = "failed"
    kind: FailureKind
    message: str
    remedy: str | None = None
    detail: str = ""
    """The full traceback, for the log."""


Command = Annotated[Build | Load | Inspect | Find | Submit, Field(discriminator="type")]
Answer = Annotated[Progress | Ready | Loaded | State | Found | Submitted | Failed, Field(discriminator="type")]


class Order(_Line):
    """A line from the parent."""

    command: Command


class Reply(_Line):
    """A line from the client."""

    answer: Answer
