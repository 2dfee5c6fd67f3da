"""Topics: what is declared, what the broker has, and what brings one to the other. Nothing is ever deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

from confluent_kafka import KafkaError, KafkaException, TopicCollection
from confluent_kafka.admin import (
    AdminClient,
    AlterConfigOpType,
    ConfigEntry,
    ConfigResource,
    NewPartitions,
    NewTopic,
    ResourceType,
)

from sluice.errors import TopicError
from sluice.job.topic import Kafka
from sluice.kafka.brokers import TIMEOUT, unreachable

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
    """A topic as the broker has it; `settings` holds all of the topic's, defaults included."""

    name: str
    partitions: int
    replication: int
    settings: Mapping[str, str]


@dataclass(frozen=True)
class Step:
    """What one topic needs: one action with what differs, or why it may not be done.

    Attributes:
        action: `create` it; `keep` as it is; `grow` its partitions; `set` its settings; `differs` and must not be
            changed (see `problem`).
        changes: Per field the broker's value and the declared one.
        problem: For `differs`: what, expected and got, and the next step.
    """

    declared: Declared
    action: Action
    changes: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    problem: str | None = None

    @property
    def words(self) -> str:
        """The step, for a person."""
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
    """The topics of a job; one that it reads and writes is declared once."""
    found = {
        topic.topic: Declared(topic.topic, topic.partitions, topic.replication, dict(topic.settings))
        for topic in topics
    }
    return tuple(found.values())


def compare(
    job: str, declared: Declared, actual: Actual | None, *, grow_partitions: bool = False, change_settings: bool = False
) -> tuple[Step, ...]:
    """What a topic needs. Pure.

    Args:
        job: Whose declaration it is, for the message.
        declared: What the job wants.
        actual: What the broker has; None: nothing.
        grow_partitions: Partitions may be added. Keys then go to other partitions than before.
        change_settings: Settings may be changed.
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


def describe(admin: AdminClient, names: Iterable[str], servers: str) -> dict[str, Actual]:
    """The topics that exist among these.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    wanted = list(names)
    if not wanted:
        return {}
    found = {}
    try:
        futures = admin.describe_topics(TopicCollection(wanted), request_timeout=TIMEOUT)
        for name, future in futures.items():
            try:
                found[name] = future.result()
            except KafkaException as error:
                if error.args[0].code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
                    raise
        resources = [ConfigResource(ResourceType.TOPIC, name) for name in found]
        configs = admin.describe_configs(resources, request_timeout=TIMEOUT) if resources else {}
        settings = {
            resource.name: {name: entry.value or "" for name, entry in future.result().items()}
            for resource, future in configs.items()
        }
    except KafkaException as error:
        raise unreachable(servers, error) from error
    return {
        name: Actual(name, len(topic.partitions), len(topic.partitions[0].replicas), settings[name])
        for name, topic in found.items()
    }


def apply(admin: AdminClient, steps: Iterable[Step], servers: str) -> None:
    """Do the steps; none of them deletes anything.

    Raises:
        TopicError: a step that differs (nothing was changed), or the broker refuses one.
        UnreachableError: the broker doesn't answer.
    """
    steps = tuple(steps)
    refuse(steps)
    for step in steps:
        topic = step.declared
        try:
            match step.action:
                case "create":
                    new = NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.settings))
                    _created(admin.create_topics([new], request_timeout=TIMEOUT)[topic.name])
                case "grow":
                    grown = NewPartitions(topic.name, topic.partitions)
                    admin.create_partitions([grown], request_timeout=TIMEOUT)[topic.name].result()
                case "set":
                    _set(admin, topic.name, {name: new for name, (_, new) in step.changes.items()})
        except KafkaException as error:
            if error.args[0].code() in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN):
                raise unreachable(servers, error) from error
            raise TopicError(f"{step.words}: refused by the broker: {error.args[0].str()}") from error


def refuse(steps: Iterable[Step]) -> None:
    """Raise what may not be done.

    Raises:
        TopicError: some step differs from what the broker has; names all of them.
    """
    problems = [step.problem for step in steps if step.problem]
    if problems:
        raise TopicError("\n".join(problems))


def _created(future: object) -> None:
    try:
        future.result()  # type: ignore[attr-defined]
    except KafkaException as error:
        # Another job that shares the topic was faster; its declaration is compared at the next deploy.
        if error.args[0].code() != KafkaError.TOPIC_ALREADY_EXISTS:
            raise


def _set(admin: AdminClient, name: str, values: Mapping[str, str]) -> None:
    resource = ConfigResource(
        ResourceType.TOPIC,
        name,
        incremental_configs=[
            ConfigEntry(setting, value, incremental_operation=AlterConfigOpType.SET)
            for setting, value in values.items()
        ],
    )
    admin.incremental_alter_configs([resource], request_timeout=TIMEOUT)[resource].result()


def _partitions(job: str, declared: Declared, actual: Actual, *, grow: bool) -> Step | None:
    if declared.partitions == actual.partitions:
        return None
    changes = {"partitions": (str(actual.partitions), str(declared.partitions))}
    found = f"{job}: topic {declared.name} has {actual.partitions} partitions, the job declares {declared.partitions}"
    if declared.partitions < actual.partitions:
        return Step(
            declared, "differs", changes, f"{found}; Kafka can't take partitions away: declare {actual.partitions}"
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
    return Step(
        declared,
        "differs",
        changes,
        f'{job}: topic {declared.name}: {words}; run "sluice deploy {job} --change-topics", or declare what is there',
    )
