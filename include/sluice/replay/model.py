"""The request for a replay, and its frozen plan."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from sluice.errors import ConfigError
from sluice.job.duration import Duration
from sluice.ledger.write_conflicts import Writes

Log = Callable[[str], None]
"""Takes progress messages, one line each."""

_DURATION: TypeAdapter[timedelta] = TypeAdapter(Duration)


class OutputKind(StrEnum):
    """Where a replay writes its rows."""

    SEPARATE = "separate"
    """A topic that the replay creates for itself."""
    OTHER = "other"
    """An existing topic, named in the request."""
    LIVE = "live"
    """The topic that the live job writes."""


@dataclass(frozen=True)
class ReplayRequest:
    """What a person or a DAG run requests.

    Attributes:
        start: The beginning of the range of event time.
        end: Its end.
        chunk: The length of a chunk; None: the whole range is one chunk.
        parallel: How many chunks run at the same time.
        output: `separate`, `live`, or the name of another existing topic.
        overrides: Settings of the job for this replay.
        release: The release that the replay runs; None: the one that runs now.
        accept_missing: Replay even if Kafka has deleted records that may belong to the range.
        accept_differences: Allow a replay into the live topic to overwrite its rows.
    """

    start: datetime
    end: datetime
    chunk: timedelta | None = None
    parallel: int = 1
    output: str = OutputKind.SEPARATE
    overrides: Mapping[str, Any] = field(default_factory=dict)
    release: int | None = None
    accept_missing: bool = False
    accept_differences: bool = False

    def as_json(self) -> dict[str, Any]:
        """The fields that decide which rows are written where: a request with the same ones resumes the same replay.

        `parallel` doesn't; `accept_differences` does for the live topic alone.
        """
        fields = {**asdict(self), "start": self.start.astimezone(UTC), "end": self.end.astimezone(UTC)}
        del fields["parallel"]
        if self.output != OutputKind.LIVE:
            del fields["accept_differences"]
        plain: dict[str, Any] = to_jsonable_python(fields)
        return plain


def read_moment(name: str, value: object) -> datetime:
    """Parse a date and time; UTC unless it has another zone.

    Args:
        name: The option or field that the value was given for.
        value: ISO 8601 text, or a datetime.

    Raises:
        ConfigError: it isn't a date and time.
    """
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ConfigError(
            f"{name}: expected a date and time, e.g. 2026-01-31T12:00, got {value!r}", remedy="give it in ISO 8601"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def read_length(name: str, text: object) -> timedelta:
    """Parse a duration, e.g. 1h or 30min.

    Args:
        name: The option or field that it was given for.
        text: The duration.

    Raises:
        ConfigError: it isn't a duration.
    """
    try:
        return _DURATION.validate_python(text)
    except ValidationError as error:
        raise ConfigError(f"{name}: expected a duration, e.g. 1h or 30min, got {text!r}") from error


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChunkPlan(_Frozen):
    """One chunk, which runs as one bounded Flink job."""

    number: int
    """From 1."""
    name: str
    """The name of the Flink job."""
    since: datetime
    """The chunk's rows begin at or after it,"""
    before: datetime
    """before this,"""
    until: datetime
    """and end at this moment at the latest."""
    offsets: dict[str, dict[int, tuple[int, int]]]
    """By read and partition the first offset, and the offset at which reading ends (exclusive)."""

    @property
    def records(self) -> int:
        """How many records it reads, at most: transaction markers take offsets, too."""
        return sum(end - start for offsets in self.offsets.values() for start, end in offsets.values())


class HeldRange(_Frozen):
    """The arrival times of the oldest and the newest record that a partition holds; None: it is empty."""

    topic: str
    partition: int
    first: datetime | None
    last: datetime | None

    def describe(self) -> str:
        """The times of arrival of the first and the last record, as text."""
        if self.first is None:
            return "no records"
        return f"records that arrived from {self.first:%Y-%m-%d %H:%M:%S} to {self.last:%Y-%m-%d %H:%M:%S} UTC"


class ReplayPlan(_Frozen):
    """A replay as planned. The ledger keeps it as JSON, so the names of its fields stay."""

    id: str
    job: str
    release: int
    start: datetime
    end: datetime
    parallel: int
    parallelism: int
    slots: int
    """Task slots that it takes at the same time."""
    slots_free: int
    chunks: tuple[ChunkPlan, ...]
    held: tuple[HeldRange, ...]
    output: OutputKind
    outputs: dict[str, str]
    """The output topic of each sink."""
    partitions: dict[str, int]
    """The number of partitions of each sink's live topic."""
    output_starts: dict[str, dict[int, int]]
    """By sink and partition the offset at which the replay's rows begin, in a topic that existed before."""
    most: int
    """How many chunks of all the job's replays may run at the same time."""
    overrides: dict[str, Any]
    resolved: dict[str, Any]
    """`DesiredJob.values()` of the release, with the replay's outputs, parallelism and settings."""
    artifact: str
    module: str
    fingerprint: str
    begins: str
    """The field of a row that says when it begins."""
    ends: str
    """The field of a row that says when it ends."""
    is_apart: bool = False
    """Whether rows of another range have other keys."""
    reach: timedelta = timedelta(0)
    """How long after an event it may still change a row, by the job's replay rule."""
    seconds: float | None
    """The expected duration, by the speed of the job's last replay; None: there was none."""
    asked: dict[str, Any] | None = None
    """`ReplayRequest.as_json()`; None: planned by a version of Sluice that didn't keep it."""

    @property
    def records(self) -> int:
        """How many records it reads, at most."""
        return sum(chunk.records for chunk in self.chunks)

    def writes(self, topics: Iterable[str]) -> Writes:
        """Which rows it writes into these topics, to find conflicts with other replays."""
        return Writes(self.job, frozenset(topics), self.start, self.end, self.is_apart)

    def chunk(self, number: int) -> ChunkPlan:
        """A chunk by its number, from 1."""
        return self.chunks[number - 1]


def reported_ends(report: Mapping[str, Any] | None) -> dict[str, dict[int, int]]:
    """By sink and partition the offset at which a replay's rows end, from its report; empty without one."""
    reported: Mapping[str, Mapping[str, int]] = (report or {}).get("output_ends") or {}
    return {sink: {int(number): end for number, end in ends.items()} for sink, ends in reported.items()}


def explain_replay(plan: ReplayPlan) -> list[str]:
    """The plan as lines of text."""
    chunks = f"{len(plan.chunks)} chunk{'s' if len(plan.chunks) > 1 else ''}, {plan.parallel} at once"
    expected = (
        "duration unknown: this is the job's first replay"
        if plan.seconds is None
        else f"about {plan.seconds:,.0f} s at the speed of its last replay"
    )
    between = f"from {plan.start:%Y-%m-%d %H:%M:%S} to {plan.end:%Y-%m-%d %H:%M:%S} UTC"
    lines = [
        f"{plan.job} is replayed {between} by release {plan.release}: {chunks}",
        f"  reads at most {plan.records:,} records; {expected}",
        f"  takes {plan.slots} of {plan.slots_free} free task slots",
    ]
    if plan.overrides:
        lines.append(f"  with {', '.join(f'{name}={value}' for name, value in plan.overrides.items())}")
    lines += [f"  {sink} goes to {topic} ({plan.output})" for sink, topic in plan.outputs.items()]
    return [*lines, *(f"  {held.topic}[{held.partition}] holds {held.describe()}" for held in plan.held)]
