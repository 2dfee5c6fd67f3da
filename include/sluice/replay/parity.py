"""Holding the rows of a replay against the live ones, key by key."""

from __future__ import annotations

import json
import math
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any

from confluent_kafka import Message
from pydantic import BaseModel, ConfigDict

from sluice.errors import OperationError, RefusedError
from sluice.job.definition import Job
from sluice.kafka.brokers import connect
from sluice.kafka.history import offsets_at, read_between
from sluice.kafka.offsets import read_offsets
from sluice.ledger.replay_tables import Replay
from sluice.project import Project
from sluice.replay.model import ReplayPlan
from sluice.replay.preflight import released

Key = tuple[str, ...]
"""The values of a row's key fields, each as JSON."""
_SAMPLES = 5
_CLOSE = 1e-9
"""Relative: sums of floats differ in their last bits by the order of their terms, which no run repeats."""


@dataclass(frozen=True)
class Row:
    """The newest message of a key.

    Attributes:
        values: The row; None: it was deleted (an empty value).
        key: The message's own, as it stands in the topic.
        value: The same.
        partition: Where it stands.
    """

    values: Mapping[str, Any] | None
    key: bytes | None
    value: bytes | None
    partition: int


class Parity(BaseModel):
    """How the rows of a replay and the live ones compare, over the rows that lie in the range."""

    model_config = ConfigDict(frozen=True)

    equal: int = 0
    differing: int = 0
    only_replayed: int = 0
    """Rows that the live topic does not have."""
    only_live: int = 0
    """Rows that the replay does not have."""
    unreadable: int = 0
    """Live messages that are no rows as the job writes them now, e.g. of a former key: they are left alone."""
    samples: tuple[dict[str, Any], ...] = ()
    """Some of those that are not equal: {key, replayed, live}."""

    @property
    def is_equal(self) -> bool:
        """Nothing differs, nothing is missing on either side."""
        return not (self.differing or self.only_replayed or self.only_live)

    @property
    def words(self) -> str:
        """The figures, for a person."""
        words = (
            f"{self.equal:,} rows equal, {self.differing:,} differing, {self.only_replayed:,} in the replay alone, "
            f"{self.only_live:,} in the live topic alone"
        )
        return words + (f", {self.unreadable:,} live messages that are no such rows" if self.unreadable else "")


@dataclass(frozen=True)
class Sides:
    """Both sides of one sink, over the rows that lie in the range, by their keys."""

    replayed: Mapping[Key, Row]
    live: Mapping[Key, Row]
    unreadable: int = 0

    @cached_property
    def differing(self) -> list[Key]:
        """Keys whose rows are on both sides and not the same."""
        return [key for key in self.replayed.keys() & self.live.keys() if not self._same(key)]

    @cached_property
    def parity(self) -> Parity:
        """The comparison."""
        both = self.replayed.keys() & self.live.keys()
        differing = sorted(self.differing)
        replayed, live = sorted(self.replayed.keys() - both), sorted(self.live.keys() - both)
        shown = [*differing[:_SAMPLES], *replayed[:_SAMPLES], *live[:_SAMPLES]][: 2 * _SAMPLES]
        return Parity(
            equal=len(both) - len(differing),
            differing=len(differing),
            only_replayed=len(replayed),
            only_live=len(live),
            unreadable=self.unreadable,
            samples=tuple({"key": list(map(json.loads, key)), **self._both(key)} for key in shown),
        )

    def _same(self, key: Key) -> bool:
        return same(self.replayed[key].values, self.live[key].values)

    def _both(self, key: Key) -> dict[str, Any]:
        sides = {"replayed": self.replayed.get(key), "live": self.live.get(key)}
        return {name: row.values if row else None for name, row in sides.items()}


def same(left: Any, right: Any) -> bool:
    """Whether two JSON values are the same; floats to nine digits."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) or isinstance(right, float):
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (left, right))
        return numbers and math.isclose(left, right, rel_tol=_CLOSE)
    return bool(left == right)


def read_sides(project: Project, job: Job, plan: ReplayPlan, sink: str, ends: Mapping[int, int] | None = None) -> Sides:
    """The rows of both topics that lie in the replay's range.

    Args:
        project: The project.
        job: The job.
        plan: The replay's.
        sink: Which of the job's.
        ends: By partition where the replay's rows end in its own topic, as its report says; None: it has none yet.

    Raises:
        UnreachableError, OperationError: the broker doesn't give them.
    """
    release = project.ledger.release(plan.job, plan.release)
    live = released(job.name, "writes", job.sinks, release)[sink]
    reads = released(job.name, "reads", job.reads, release)
    # A row is written once its last events have come: not before they can have.
    earliest = plan.start - max((topic.future_tolerance for topic in reads.values()), default=timedelta(0))
    ours, starts = plan.outputs[sink], plan.output_starts.get(sink)
    replayed = read_rows(project, ours, live.key, lambda row: lies_in(plan, row), starts=starts, ends=ends)
    unreadable: Counter[str] = Counter()
    there = read_rows(
        project,
        live.topic,
        live.key,
        lambda row: lies_in(plan, row),
        since=earliest,
        otherwise=lambda _message: unreadable.update([sink]),
    )
    return Sides(replayed, there, unreadable[sink])


def refuse_expired(project: Project, replay: Replay, plan: ReplayPlan, rows: int) -> None:
    """Refuse to take for a replay's rows what is left of them.

    Args:
        project: The project.
        replay: The replay.
        plan: Its plan.
        rows: How many its outputs hold now.

    Raises:
        RefusedError: an output has deleted some, or they are fewer than the replay's report says.
        UnreachableError: the broker doesn't answer.
    """
    if plan.output != "live":
        held = read_offsets(connect(project.kafka), set(plan.outputs.values()), project.kafka_servers)
        begun = {plan.outputs[sink]: starts for sink, starts in plan.output_starts.items()}
        for (topic, number), offsets in sorted(held.items()):
            if offsets.start > begun.get(topic, {}).get(number, 0):
                raise RefusedError(
                    f"replay {replay.id[:8]} of {replay.job}: {topic}[{number}] has deleted rows of it, those before "
                    f"offset {offsets.start:,}",
                    remedy="replay the range again, and give the output's topic a longer retention.ms",
                )
    told = int((replay.report or {}).get("rows", 0))
    if rows < told:
        raise RefusedError(
            f"replay {replay.id[:8]} of {replay.job} gave {told:,} rows, and its output holds {rows:,} of them: the "
            "others were deleted since",
            remedy="replay the range again, and give the output's topic a longer retention.ms",
        )


def read_rows(
    project: Project,
    topic: str,
    key: tuple[str, ...],
    matters: Callable[[Mapping[str, Any]], bool],
    *,
    since: datetime | None = None,
    starts: Mapping[int, int] | None = None,
    ends: Mapping[int, int] | None = None,
    otherwise: Callable[[Message], None] | None = None,
) -> dict[Key, Row]:
    """The newest row of each key of a topic, as far as it holds them and they matter.

    No more is kept in memory: a live topic may hold many times as much.

    Args:
        project: The project.
        topic: The topic's name.
        key: The fields that are a row's identity.
        matters: Whether a row is to be kept.
        since: Only what was written since then; None: all.
        starts: Only from these offsets on, by partition; None: all.
        ends: Only up to these offsets, by partition; None: all.
        otherwise: What is told of each message that is no row; None: there must be none.

    Raises:
        OperationError: it holds what is no row, or the broker doesn't give it.
        UnreachableError: the broker doesn't answer.
    """
    admin = connect(project.kafka)
    held = read_offsets(admin, [topic], project.kafka_servers)
    bounds = {partition: (offsets.start, offsets.end) for partition, offsets in held.items()}
    if since is not None:
        first = offsets_at(admin, held, since, project.kafka_servers)
        bounds = {place: (first[place], end) for place, (_, end) in bounds.items()}
    if starts is not None:
        bounds = {place: (max(start, starts.get(place[1], 0)), end) for place, (start, end) in bounds.items()}
    if ends is not None:
        bounds = {place: (start, min(end, ends.get(place[1], end))) for place, (start, end) in bounds.items()}
    rows: dict[Key, Row] = {}
    for message in read_between(project.kafka, f"{project.group('replays')}.reader", bounds):
        try:
            identity, values = _parsed(key, message)
            is_wanted = values is not None and matters(values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if otherwise is None:
                raise OperationError(
                    f"{topic}[{message.partition()}] holds at offset {message.offset()} what is no row with the key "
                    f"{', '.join(key)}",
                    remedy="let nobody else write there, or give the replay a topic of its own",
                ) from error
            otherwise(message)
            continue
        # What was newest of its key is no longer so, whatever has come in its place.
        rows.pop(identity, None)
        if is_wanted:
            rows[identity] = Row(values, message.key(), message.value(), int(message.partition() or 0))
    return rows


def _parsed(key: tuple[str, ...], message: Message) -> tuple[Key, Mapping[str, Any] | None]:
    """A message's key and row; of a deleted one the key alone, which stands in the message's key."""
    value, raw_key = message.value(), message.key()
    values = json.loads(value) if value else None
    named = values if values is not None else json.loads(raw_key or b"")
    return tuple(json.dumps(named[name], sort_keys=True) for name in key), values


def lies_in(plan: ReplayPlan, values: Mapping[str, Any]) -> bool:
    """Whether a row begins and ends in the replay's range."""
    begins, ends = moment(values[plan.begins]), moment(values[plan.ends])
    return plan.start <= begins and ends <= plan.end and begins < plan.end


def rows_by_chunk(plan: ReplayPlan, rows: Iterable[Row]) -> dict[int, int]:
    """How many rows each chunk gave; they all begin in the range."""
    counts = dict.fromkeys((chunk.number for chunk in plan.chunks), 0)
    begins = [chunk.since for chunk in plan.chunks]
    for row in rows:
        if row.values is not None:
            counts[bisect_right(begins, moment(row.values[plan.begins]))] += 1
    return counts


def moment(text: str) -> datetime:
    """A moment as a sink writes it: ISO 8601, in UTC."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
