"""Where a topic's partitions begin and end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from confluent_kafka import ConsumerGroupTopicPartitions, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from sluice.kafka.brokers import TIMEOUT, unreachable

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


def read_committed(admin: AdminClient, group: str, servers: str) -> dict[Partition, int]:
    """The offsets that a consumer group has committed: for each partition the next one to read.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    try:
        future = admin.list_consumer_group_offsets([ConsumerGroupTopicPartitions(group)], request_timeout=TIMEOUT)[
            group
        ]
        found = future.result().topic_partitions
    except KafkaException as error:
        raise unreachable(servers, error) from error
    return {(item.topic, item.partition): item.offset for item in found if item.offset >= 0}


def _ask(admin: AdminClient, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[Partition, int]:
    if not partitions:
        return {}
    futures = admin.list_offsets(dict.fromkeys(partitions, spec), request_timeout=TIMEOUT)
    return {(asked.topic, asked.partition): future.result().offset for asked, future in futures.items()}
