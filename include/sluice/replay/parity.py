"""Comparing the rows of a replay with the live ones, key by key."""

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
from sluice.ledger.replay_tables import ReplayRun
from sluice.project import Project
from sluice.replay.model import OutputKind, ReplayPlan
from sluice.replay.release import released_topics

Key = tuple[str, ...]
"""The values of a row's key fields, each as JSON."""
_SAMPLES = 5
_CLOSE = 1e-9
"""Relative: sums of floats differ in their last bits by the order of their terms, which no run repeats."""


@dataclass(frozen=True)
class Row:
    """The newest message of a key.

    Attributes:
        values: The row; None: a tombstone has deleted it.
        key: The message's key, as bytes.
        value: The message's value, as bytes; None: a tombstone.
        partition: The partition that holds the message.
    """

    values: Mapping[str, Any] | None
    key: bytes | None
    value: bytes | None
    partition: int


class Parity(BaseModel):
    """The comparison of a replay's rows with the live ones, over the rows that lie in the range."""

    model_config = ConfigDict(frozen=True)

    equal: int = 0
    differing: int = 0
    only_replayed: int = 0
    """Rows that the live topic doesn't have."""
    only_live: int = 0
    """Rows that the replay doesn't have."""
    unreadable: int = 0
    """Live messages that aren't rows of the job's present format, e.g. of a former key; a promotion ignores them."""
    samples: tuple[dict[str, Any], ...] = ()
    """Some of those that are not equal: {key, replayed, live}."""

    @property
    def is_equal(self) -> bool:
        """Whether both sides have the same keys with equal rows."""
        return not (self.differing or self.only_replayed or self.only_live)

    def describe(self) -> str:
        """The figures as text."""
        figures = (
            f"{self.equal:,} rows equal, {self.differing:,} differing, {self.only_replayed:,} in the replay alone, "
            f"{self.only_live:,} in the live topic alone"
        )
        return figures + (f", {self.unreadable:,} live messages that aren't rows" if self.unreadable else "")


@dataclass(frozen=True)
class Sides:
    """The rows of one sink that lie in the range, by key: the replayed ones and the live ones."""

    replayed: Mapping[Key, Row]
    live: Mapping[Key, Row]
    unreadable: int = 0

    @cached_property
    def differing(self) -> list[Key]:
        """Keys that both sides have, with different rows."""
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
    """Whether two JSON values are equal; floats to nine digits."""
    if isinstance(left, Mapping) and isinstance(right, Mapping):
        return left.keys() == right.keys() and all(same(value, right[name]) for name, value in left.items())
    if isinstance(left, list) and isinstance(right, list):
        return len(left) == len(right) and all(map(same, left, right))
    if isinstance(left, float) or isinstance(right, float):
        numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in (left, right))
        return numbers and math.isclose(left, right, rel_tol=_CLOSE)
    return bool(left == right)


def read_sides(project: Project, job: Job, plan: ReplayPlan, sink: str, ends: Mapping[int, int] | None = None) -> Sides:
    """Read the rows of the output topic and of the live topic that lie in the replay's range.

    Args:
        project: The project.
        job: The job.
        plan: The replay's plan.
        sink: One of the job's sinks.
        ends: By partition the offset at which the replay's rows end, from its report; None: it has no report yet.

    Raises:
        UnreachableError: the brokers don't answer.
        OperationError: the output topic holds messages that aren't rows, or the brokers return an error.
    """
    release = project.ledger.release(plan.job, plan.release)
    live = released_topics(job.name, "writes", job.sinks, release)[sink]
    reads = released_topics(job.name, "reads", job.reads, release)
    # A row is written after its events have arrived, which is `future_tolerance` before its time at the earliest.
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
        on_unreadable=lambda _message: unreadable.update([sink]),
    )
    return Sides(replayed, there, unreadable[sink])


def refuse_expired(project: Project, replay: ReplayRun, plan: ReplayPlan, rows: int) -> None:
    """Refuse a replay some of whose rows its output topics have deleted.

    Args:
        project: The project.
        replay: The replay.
        plan: Its plan.
        rows: How many rows its outputs hold now.

    Raises:
        RefusedError: an output topic has deleted some, or holds fewer than the replay's report says.
        UnreachableError: the brokers don't answer.
    """
    if plan.output is not OutputKind.LIVE:
        held = project.brokers.offsets(set(plan.outputs.values()))
        begun = {plan.outputs[sink]: starts for sink, starts in plan.output_starts.items()}
        for (topic, number), offsets in sorted(held.items()):
            if offsets.start > begun.get(topic, {}).get(number, 0):
                raise RefusedError(
                    f"replay {replay.id[:8]} of {replay.job}: {topic}[{number}] has deleted the replay's rows before "
                    f"offset {offsets.start:,}",
                    remedy="replay the range again, and give the output's topic a longer retention.ms",
                )
    reported = int((replay.report or {}).get("rows", 0))
    if rows < reported:
        raise RefusedError(
            f"replay {replay.id[:8]} of {replay.job} wrote {reported:,} rows, of which its output topic holds only "
            f"{rows:,}",
            remedy="replay the range again, and give the output's topic a longer retention.ms",
        )


def read_rows(
    project: Project,
    topic: str,
    key: tuple[str, ...],
    is_wanted: Callable[[Mapping[str, Any]], bool],
    *,
    since: datetime | None = None,
    starts: Mapping[int, int] | None = None,
    ends: Mapping[int, int] | None = None,
    on_unreadable: Callable[[Message], None] | None = None,
) -> dict[Key, Row]:
    """Read the newest row of each key of a topic, if it is wanted.

    Memory holds the wanted rows alone: a live topic may have many times as many.

    Args:
        project: The project.
        topic: The topic's name.
        key: The fields that identify a row.
        is_wanted: Whether to keep a row.
        since: Read messages written since then; None: all.
        starts: The first offset to read, by partition; None: all.
        ends: The offset at which to stop, by partition; None: the end of the topic.
        on_unreadable: Called with each message that isn't a row; None: such a message is an error.

    Raises:
        OperationError: the topic holds a message that isn't a row, or the brokers return an error.
        UnreachableError: the brokers don't answer.
    """
    held = project.brokers.offsets([topic])
    bounds = {partition: (offsets.start, offsets.end) for partition, offsets in held.items()}
    if since is not None:
        first = project.brokers.offsets_at(held, since)
        bounds = {place: (first[place], end) for place, (_, end) in bounds.items()}
    if starts is not None:
        bounds = {place: (max(start, starts.get(place[1], 0)), end) for place, (start, end) in bounds.items()}
    if ends is not None:
        bounds = {place: (start, min(end, ends.get(place[1], end))) for place, (start, end) in bounds.items()}
    rows: dict[Key, Row] = {}
    for message in project.brokers.messages(f"{project.group('replays')}.reader", bounds):
        try:
            identity, values = _parsed(key, message)
            is_kept = values is not None and is_wanted(values)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            if on_unreadable is None:
                raise OperationError(
                    f"{topic}[{message.partition()}]: the message at offset {message.offset()} isn't a row with the "
                    f"key {', '.join(key)}",
                    remedy="stop other programs that write there, or choose the output 'separate'",
                ) from error
            on_unreadable(message)
            continue
        # This message replaces the key's former row, even if the new one isn't kept.
        rows.pop(identity, None)
        if is_kept:
            rows[identity] = Row(values, message.key(), message.value(), int(message.partition() or 0))
    return rows


def _parsed(key: tuple[str, ...], message: Message) -> tuple[Key, Mapping[str, Any] | None]:
    """The key and the row of a message; a tombstone has the key in the message's key alone, and no row."""
    value, raw_key = message.value(), message.key()
    values = json.loads(value) if value else None
    named = values if values is not None else json.loads(raw_key or b"")
    return tuple(json.dumps(named[name], sort_keys=True) for name in key), values


def lies_in(plan: ReplayPlan, values: Mapping[str, Any]) -> bool:
    """Whether a row begins and ends in the replay's range."""
    begins, ends = moment(values[plan.begins]), moment(values[plan.ends])
    return plan.start <= begins and ends <= plan.end and begins < plan.end


def rows_by_chunk(plan: ReplayPlan, rows: Iterable[Row]) -> dict[int, int]:
    """How many rows each chunk wrote; all rows must begin in the range."""
    counts = dict.fromkeys((chunk.number for chunk in plan.chunks), 0)
    begins = [chunk.since for chunk in plan.chunks]
    for row in rows:
        if row.values is not None:
            counts[bisect_right(begins, moment(row.values[plan.begins]))] += 1
    return counts


def moment(text: str) -> datetime:
    """Parse a moment as the sinks write it: ISO 8601, in UTC."""
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
