"""What a replay is asked to do, and the frozen plan of it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import to_jsonable_python

from sluice.errors import ConfigError
from sluice.job.duration import Duration
from sluice.ledger.write_conflicts import Writes

SEPARATE = "separate"
"""Output to a topic of the replay's own."""
LIVE = "live"
"""Output to the topic that the live job writes."""

_LENGTH: TypeAdapter[timedelta] = TypeAdapter(Duration)

OutputKind = Literal["separate", "other", "live"]


@dataclass(frozen=True)
class ReplayRequest:
    """What is asked for.

    Attributes:
        start: Where the range of event time begins.
        end: Where it ends.
        chunk: How long each chunk is; None: the whole range is one.
        parallel: How many chunks run side by side.
        output: `separate`, `live`, or the name of another topic that is there.
        overrides: Settings of the job for this replay.
        release: Which release runs it; None: the one that runs now.
        accept_missing: Also where Kafka has deleted records that may be of the range.
        accept_differences: Live rows may be overwritten, where the output is the live topic.
    """

    start: datetime
    end: datetime
    chunk: timedelta | None = None
    parallel: int = 1
    output: str = SEPARATE
    overrides: Mapping[str, Any] = field(default_factory=dict)
    release: int | None = None
    accept_missing: bool = False
    accept_differences: bool = False

    def as_json(self) -> dict[str, Any]:
        """What a plan keeps of it, to tell whether another request asks for the same rows in the same place.

        How many chunks run at once is no part of that.
        """
        asked = {**asdict(self), "start": self.start.astimezone(UTC), "end": self.end.astimezone(UTC)}
        del asked["parallel"]
        if self.output != LIVE:
            del asked["accept_differences"]
        plain: dict[str, Any] = to_jsonable_python(asked)
        return plain


def read_moment(name: str, value: object) -> datetime:
    """A moment as people write it; UTC unless it says otherwise.

    Raises:
        ConfigError: it can't be read; `name` says what it was given for.
    """
    try:
        found = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        raise ConfigError(
            f"{name}: expected a date and time, e.g. 2026-01-31T12:00, got {value!r}", remedy="give it in ISO 8601"
        ) from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def read_length(name: str, text: object) -> timedelta:
    """A duration as people write it.

    Raises:
        ConfigError: it can't be read; `name` says what it was given for.
    """
    try:
        return _LENGTH.validate_python(text)
    except ValidationError as error:
        raise ConfigError(f"{name}: expected a duration, e.g. 1h or 30min, got {text!r}") from error


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class ChunkPlan(_Frozen):
    """One chunk: a Flink job of its own."""

    number: int
    name: str
    since: datetime
    before: datetime
    until: datetime
    offsets: dict[str, dict[int, tuple[int, int]]]
    """Per read and partition the first offset, and the one before which it ends."""

    @property
    def records(self) -> int:
        """How many records it reads, at the most: markers of transactions take offsets, too."""
        return sum(end - start for offsets in self.offsets.values() for start, end in offsets.values())


class HeldRange(_Frozen):
    """What a partition holds: the arrival of its first record and of its newest one; None: it is empty."""

    topic: str
    partition: int
    first: datetime | None
    last: datetime | None

    @property
    def words(self) -> str:
        """The range, for a person."""
        if self.first is None:
            return "nothing"
        return f"what arrived from {self.first:%Y-%m-%d %H:%M:%S} to {self.last:%Y-%m-%d %H:%M:%S} UTC"


class ReplayPlan(_Frozen):
    """A replay, planned: nothing was touched yet."""

    id: str
    job: str
    release: int
    start: datetime
    end: datetime
    parallel: int
    parallelism: int
    slots: int
    """Task slots that it takes at once."""
    slots_free: int
    chunks: tuple[ChunkPlan, ...]
    held: tuple[HeldRange, ...]
    output: OutputKind
    outputs: dict[str, str]
    """By sink the topic that it writes."""
    partitions: dict[str, int]
    """By sink the partitions of the live topic."""
    output_starts: dict[str, dict[int, int]]
    """By sink and partition the offset from which on the replay's rows stand in a topic that was there before."""
    most: int
    """How many chunks of all the job's replays may run side by side."""
    overrides: dict[str, Any]
    resolved: dict[str, Any]
    """`DesiredJob.values()` with the outputs, the parallelism and the settings of the replay."""
    artifact: str
    module: str
    fingerprint: str
    begins: str
    ends: str
    is_apart: bool = False
    """Whether rows of another range have other keys."""
    reach: timedelta = timedelta(0)
    """How long after an event it may still change a row, by the rule and the settings of the replay."""
    seconds: float | None
    """How long it will take, by the speed of the job's last replay; None: there was none."""
    asked: dict[str, Any] | None = None
    """`ReplayRequest.as_json()`; None: planned by a Sluice that did not keep it."""

    @property
    def records(self) -> int:
        """How many records are read, at the most."""
        return sum(chunk.records for chunk in self.chunks)

    def writes(self, topics: Iterable[str]) -> Writes:
        """What it writes into these topics, to hold against what other replays do."""
        return Writes(self.job, frozenset(topics), self.start, self.end, self.is_apart)

    def chunk(self, number: int) -> ChunkPlan:
        """A chunk by its number, from 1."""
        return self.chunks[number - 1]


def ends_told(report: Mapping[str, Any] | None) -> dict[str, dict[int, int]]:
    """By sink and partition where a replay's rows end in its output, by its report; nothing where that doesn't say."""
    told: Mapping[str, Mapping[str, int]] = (report or {}).get("output_ends") or {}
    return {sink: {int(number): end for number, end in ends.items()} for sink, ends in told.items()}


def explain_replay(plan: ReplayPlan) -> list[str]:
    """The plan, line by line."""
    chunks = f"{len(plan.chunks)} chunk{'s' if len(plan.chunks) > 1 else ''}, {plan.parallel} at once"
    expected = (
        "nobody knows yet how long it takes: the first replay of this job"
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
    return [*lines, *(f"  {held.topic}[{held.partition}] holds {held.words}" for held in plan.held)]
