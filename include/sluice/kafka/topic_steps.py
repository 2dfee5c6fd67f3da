"""The comparison of declared topics with the broker's, and the steps that change the broker's. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from sluice.errors import TopicError
from sluice.job.topic import Kafka

Action = Literal["create", "keep", "grow", "set", "differs"]


@dataclass(frozen=True)
class Declared:
    """A topic as a job declares it."""

    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Actual:
    """A topic on the broker; `settings` has all of the topic's settings, including defaults."""

    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """One action on a topic, or a difference that is not allowed to be changed.

    Attributes:
        action: `create` the topic; `keep` it; `grow` its partitions; `set` its settings; `differs`: a difference that
            is not allowed to be changed (see `problem`).
        changes: Per field the broker's value and the declared value.
        problem: For `differs`: what differs, expected and got, and the next step.
    """

    declared: Declared
    action: Action
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    problem: str | None = None

    @property
    def words(self) -> str:
        """A description of the step."""
        topic = self.declared
        match self.action:
            case "create":
                return f"create {topic.name}: {topic.partitions} partitions, replication {topic.replication}"
            case "keep":
                return f"keep {topic.name}: {topic.partitions} partitions"
            case "differs":
                return self.problem or ""
        changed = ", ".join(f"{name} {old} -> {new}" for name, (old, new) in self.changes.items())
        return f"change {topic.name}: {changed}"


def declare(topics: Iterable[Kafka]) -> tuple[Declared, ...]:
    """The declared topics of a job; a topic that the job both reads and writes appears once."""
    found = {
        topic.topic: Declared(topic.topic, topic.partitions, topic.replication, dict(topic.settings))
        for topic in topics
    }
    return tuple(found.values())


def compare(
    job: str, declared: Declared, actual: Actual | None, *, grow_partitions: bool = False, change_settings: bool = False
) -> tuple[Step, ...]:
    """Compare a declared topic with the broker's; returns the steps for it.

    Args:
        job: The job that declares the topic, for messages.
        declared: The topic as the job declares it.
        actual: The topic on the broker; None: it doesn't exist.
        grow_partitions: Allow to add partitions. Keys then map to other partitions than before.
        change_settings: Allow to change settings.
    """
    if actual is None:
        return (Step(declared, "create"),)
    steps = [
        step
        for step in (
            _partitions(job, declared, actual, grow=grow_partitions),
            _replication(job, declared, actual),
            _settings(job, declared, actual, change=change_settings),
        )
        if step
    ]
    return tuple(steps) or (Step(declared, "keep"),)


def refuse(steps: Iterable[Step]) -> None:
    """Raise if a step has a difference that is not allowed to be changed.

    Raises:
        TopicError: topics differ from the broker's; names all differences.
    """
    problems = [step.problem for step in steps if step.problem]
    if problems:
        raise TopicError("\n".join(problems))


def _partitions(job: str, declared: Declared, actual: Actual, *, grow: bool) -> Step | None:
    if declared.partitions == actual.partitions:
        return None
    changes = {"partitions": (str(actual.partitions), str(declared.partitions))}
    found = f"{job}: topic {declared.name} has {actual.partitions} partitions, the job declares {declared.partitions}"
    if declared.partitions < actual.partitions:
        return Step(
            declared, "differs", changes, f"{found}; Kafka can't remove partitions: declare {actual.partitions}"
        )
    if not grow:
        remedy = f'run "sluice deploy {job} --grow-partitions", or declare {actual.partitions}'
        return Step(declared, "differs", changes, f"{found}; {remedy}")
    return Step(declared, "grow", changes)


def _replication(job: str, declared: Declared, actual: Actual) -> Step | None:
    if declared.replication == actual.replication:
        return None
    return Step(
        declared,
        "differs",
        {"replication": (str(actual.replication), str(declared.replication))},
        f"{job}: topic {declared.name} has replication {actual.replication}, the job declares "
        f"{declared.replication}; move replicas with Kafka's own tools, or declare {actual.replication}",
    )


def _settings(job: str, declared: Declared, actual: Actual, *, change: bool) -> Step | None:
    changes = {
        name: (actual.settings.get(name, "unset"), value)
        for name, value in declared.settings.items()
        if actual.settings.get(name) != value
    }
    if not changes:
        return None
    if change:
        return Step(declared, "set", changes)
    words = ", ".join(f"{name} is {old}, the job declares {new}" for name, (old, new) in changes.items())
    remedy = f'run "sluice deploy {job} --change-topics", or declare the values of the broker'
    return Step(
        declared,
        "differs",
        changes,
        f"{job}: topic {declared.name}: {words}; {remedy}",
    )
