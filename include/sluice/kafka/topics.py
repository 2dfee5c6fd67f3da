"""Describe topics, and create or change them as steps say. Topics are never deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress

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

from sluice.clock import MACHINE, Clock
from sluice.errors import TopicError, UnreachableError
from sluice.kafka.brokers import TIMEOUT, unreachable
from sluice.kafka.topic_steps import Actual, Step, compare, refuse

_PROPAGATION = 5.0
"""Seconds within which all brokers know a new topic."""


def describe(admin: AdminClient, names: Iterable[str], servers: str) -> dict[str, Actual]:
    """The topics among these that exist on the broker.

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


def apply(admin: AdminClient, steps: Iterable[Step], servers: str, clock: Clock = MACHINE) -> None:
    """Apply the steps. No step deletes anything.

    A step that was taken already, by an earlier try or by another job that shares the topic, counts as taken if the
    topic is as the step declares it.

    Raises:
        TopicError: a topic differs (then nothing was changed), or the broker refuses a step.
        UnreachableError: the broker doesn't answer.
    """
    steps = tuple(steps)
    refuse(steps)
    for step in steps:
        try:
            _apply(admin, step)
        except KafkaException as error:
            code = error.args[0].code()
            if code in (KafkaError._TRANSPORT, KafkaError._TIMED_OUT, KafkaError._ALL_BROKERS_DOWN):
                raise unreachable(servers, error) from error
            if code not in (KafkaError.TOPIC_ALREADY_EXISTS, KafkaError.INVALID_PARTITIONS):
                raise TopicError(f"{step.words}: the broker refused it: {error.args[0].str()}") from error
            _refuse_another(admin, step, servers, clock, error)


def _apply(admin: AdminClient, step: Step) -> None:
    topic = step.declared
    match step.action:
        case "create":
            new = NewTopic(topic.name, topic.partitions, topic.replication, config=dict(topic.settings))
            admin.create_topics([new], request_timeout=TIMEOUT)[topic.name].result()
        case "grow":
            grown = NewPartitions(topic.name, topic.partitions)
            admin.create_partitions([grown], request_timeout=TIMEOUT)[topic.name].result()
        case "set":
            _set(admin, topic.name, {name: new for name, (_, new) in step.changes.items()})


def _refuse_another(admin: AdminClient, step: Step, servers: str, clock: Clock, error: KafkaException) -> None:
    """Raise if the topic that the broker has is not the one that the step leads to."""
    actual: Actual | None = None

    def is_described() -> bool:
        nonlocal actual
        # The settings of a topic that was created just now may not be known yet, which is an error.
        with suppress(UnreachableError):
            actual = describe(admin, [step.declared.name], servers).get(step.declared.name)
        return actual is not None and not (step.action == "grow" and _differs(step, actual))

    # The broker that describes topics learns of a new one a moment after the one that has created it.
    clock.wait_for(is_described, within=_PROPAGATION, pause=0.1)
    if actual is None:
        raise TopicError(f"{step.words}: the broker refused it: {error.args[0].str()}") from error
    if _differs(step, actual):
        raise TopicError(
            f"{step.words}: the topic was changed after the plan was made: it has {actual.partitions} partitions and "
            f"replication {actual.replication}; deploy again: the new plan says what differs"
        ) from error


def _differs(step: Step, actual: Actual) -> bool:
    if step.action == "grow":
        return actual.partitions != step.declared.partitions
    return any(each.action != "keep" for each in compare("", step.declared, actual))


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
