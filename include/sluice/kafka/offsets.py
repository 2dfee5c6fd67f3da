"""Where a topic's partitions begin and end."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from sluice.kafka.brokers import TIMEOUT, group_member, unreachable

Partition = tuple[str, int]
"""Topic and partition number."""


@dataclass(frozen=True)
class Offsets:
    """A partition's first offset still held, and the offset that the next record will get."""

    start: int
    end: int


def read_offsets(admin: AdminClient, topics: Iterable[str], servers: str) -> dict[Partition, Offsets]:
    """Start and end of every partition of these topics.

    Raises:
        UnreachableError: the broker doesn't answer, or a topic is gone.
    """
    try:
        partitions = [
            TopicPartition(topic, number)
            for topic in topics
            for number in admin.list_topics(topic, timeout=TIMEOUT).topics[topic].partitions
        ]
        starts = _ask(admin, partitions, OffsetSpec.earliest())
        ends = _ask(admin, partitions, OffsetSpec.latest())
    except KafkaException as error:
        raise unreachable(servers, error) from error
    return {partition: Offsets(starts[partition], ends[partition]) for partition in ends}


def read_committed(config: Mapping[str, str], group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """The offsets that a consumer group has committed: for each partition the next one to read.

    Asked as a member of the group would: librdkafka's admin request for it ends the whole process where the group's
    coordinator is just moving (confluent-kafka-javascript issue 374).

    Args:
        config: librdkafka's configuration.
        group: The group.
        partitions: Which ones.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    wanted = [TopicPartition(topic, number) for topic, number in partitions]
    consumer = group_member(config, group)
    try:
        found = consumer.committed(wanted, timeout=TIMEOUT)
    except KafkaException as error:
        raise unreachable(config.get("bootstrap.servers", ""), error) from error
    finally:
        consumer.close()
    return {(item.topic, item.partition): item.offset for item in found if item.offset >= 0}


def commit_group(config: Mapping[str, str], group: str, offsets: Mapping[Partition, int]) -> None:
    """Set where a consumer group stands; nobody of the group may be reading.

    Raises:
        UnreachableError: the broker doesn't answer, or refuses.
    """
    consumer = group_member(config, group)
    try:
        consumer.commit(
            offsets=[TopicPartition(topic, number, offset) for (topic, number), offset in offsets.items()],
            asynchronous=False,
        )
    except KafkaException as error:
        raise unreachable(config.get("bootstrap.servers", ""), error) from error
    finally:
        consumer.close()


def _ask(admin: AdminClient, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[Partition, int]:
    if not partitions:
        return {}
    futures = admin.list_offsets(dict.fromkeys(partitions, spec), request_timeout=TIMEOUT)
    return {(asked.topic, asked.partition): future.result().offset for asked, future in futures.items()}
