"""Where a topic's partitions begin and end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from confluent_kafka import KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, OffsetSpec

from sluice.errors import UnreachableError
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
        partitions = [TopicPartition(topic, number) for topic in topics for number in _numbers(admin, topic, servers)]
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


def find_read_to_end(config: Mapping[str, str], group: str, following: Mapping[Partition, int]) -> frozenset[Partition]:
    """Those partitions in which nothing is left to read at or after the given offset.

    Reads on from there as a consumer of committed records would: it either gets a record or comes to the end. What
    lies between may be the markers of transactions, records of aborted ones, or an open transaction, which no consumer
    gets past.

    Args:
        config: librdkafka's configuration.
        group: The job's group; nothing is committed.
        following: The offset that is read next, by partition.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    consumer = group_member({**config, **_READ_ON}, group)
    ended: set[Partition] = set()
    open_ = set(following)
    deadline = time.monotonic() + TIMEOUT
    try:
        consumer.assign([TopicPartition(topic, number, at) for (topic, number), at in following.items()])
        while open_:
            message = consumer.poll(max(0.0, deadline - time.monotonic()))
            if message is None:
                # Neither is known of the others: they keep the lag that they have.
                break
            error = message.error()
            partition = (message.topic(), message.partition())
            if error is not None and error.code() not in _OF_A_PARTITION:
                raise unreachable(config.get("bootstrap.servers", ""), KafkaException(error))
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                ended.add(partition)
            open_.discard(partition)
    except KafkaException as error:
        raise unreachable(config.get("bootstrap.servers", ""), error) from error
    finally:
        consumer.close()
    return frozenset(ended)


_OF_A_PARTITION = (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET)
"""It ends here; it no longer holds the offset."""
_READ_ON = {
    "isolation.level": "read_committed",
    "enable.partition.eof": "true",
    "auto.offset.reset": "error",
    # One record is enough.
    "fetch.message.max.bytes": "1024",
    "queued.min.messages": "1",
}


def _numbers(admin: AdminClient, topic: str, servers: str) -> list[int]:
    found = admin.list_topics(topic, timeout=TIMEOUT).topics[topic]
    if found.error is not None:
        raise UnreachableError(
            f"Kafka at {servers}: topic {topic}: {found.error.str()}",
            remedy="create it with a deploy of a job that reads it",
        )
    return list(found.partitions)


def _ask(admin: AdminClient, partitions: list[TopicPartition], spec: OffsetSpec) -> dict[Partition, int]:
    if not partitions:
        return {}
    futures = admin.list_offsets(dict.fromkeys(partitions, spec), request_timeout=TIMEOUT)
    return {(asked.topic, asked.partition): future.result().offset for asked, future in futures.items()}
