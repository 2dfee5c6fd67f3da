"""Describe topics, and create or change them as steps say. Topics are never deleted."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

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
from sluice.kafka.brokers import TIMEOUT, unreachable
from sluice.kafka.topic_steps import Actual, Step, refuse


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


def apply(admin: AdminClient, steps: Iterable[Step], servers: str) -> None:
    """Apply the steps. No step deletes anything.

    Raises:
        TopicError: a topic differs (then nothing was changed), or the broker refuses a step.
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
            raise TopicError(f"{step.words}: the broker refused it: {error.args[0].str()}") from error


def _created(future: object) -> None:
    try:
        future.result()  # type: ignore[attr-defined]
    except KafkaException as error:
        # Another job that shares the topic has just created it; the next deploy compares the declarations.
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
