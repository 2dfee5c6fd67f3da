"""The history of topics: offsets by timestamp, and the messages between two offsets."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec

from sluice.clock import MACHINE, Clock
from sluice.errors import OperationError
from sluice.job.duration import epoch_milliseconds
from sluice.kafka.brokers import group_member, unreachable
from sluice.kafka.offsets import Offsets, Partition, find_offsets, refuse_missing

_IDLE_TIMEOUT = 30.0
"""Seconds without a message or the end of a partition, after which reading fails."""


@dataclass(frozen=True)
class Moments:
    """A partition's first and largest Kafka timestamp, epoch milliseconds; None: the partition is empty."""

    first: int | None
    last: int | None


def offsets_at(
    admin: AdminClient, held: Mapping[Partition, Offsets], moment: datetime, servers: str, clock: Clock = MACHINE
) -> dict[Partition, int]:
    """Per partition the first offset with a timestamp at or after a moment; its end offset if there is none.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    found = _find(admin, held, OffsetSpec.for_timestamp(epoch_milliseconds(moment)), servers, clock)
    return {place: offsets.end if found[place].offset < 0 else found[place].offset for place, offsets in held.items()}


def held_moments(
    admin: AdminClient, partitions: Collection[Partition], servers: str, clock: Clock = MACHINE
) -> dict[Partition, Moments]:
    """Per partition the timestamp of its first record, and its largest timestamp.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    firsts = _find(admin, partitions, OffsetSpec.for_timestamp(0), servers, clock)
    lasts = _find(admin, partitions, OffsetSpec.max_timestamp(), servers, clock)
    return {place: Moments(_timestamp(firsts[place]), _timestamp(lasts[place])) for place in partitions}


def read_between(
    config: Mapping[str, str], group: str, offsets: Mapping[Partition, tuple[int, int]]
) -> Iterator[Message]:
    """The messages of committed transactions in an offset range of each partition.

    Args:
        config: librdkafka's configuration.
        group: The consumer group, for the broker's access control; no offsets are committed.
        offsets: Per partition the first offset, and the end offset (exclusive).

    Raises:
        OperationError: the broker reports an error, or sends nothing before the end of the range.
        UnreachableError: the broker doesn't answer.
    """
    consumer = group_member({**config, **_READING}, group)
    left = {partition: end for partition, (start, end) in offsets.items() if start < end}
    try:
        consumer.assign([TopicPartition(*partition, offsets[partition][0]) for partition in left])
        last = time.monotonic()
        while left:
            for message in consumer.consume(1000, timeout=0.5):
                last = time.monotonic()
                partition = (message.topic(), message.partition())
                if error := message.error():
                    if error.code() != KafkaError._PARTITION_EOF:  # has no public name
                        raise OperationError(f"{message.topic()}: {error.str()}")
                    # An end of partition below the end offset means an open transaction: go on polling.
                    if (message.offset() or 0) >= left.get(partition, 0):
                        left.pop(partition, None)
                    continue
                end = left.get(partition)
                if end is not None and message.offset() < end:
                    yield message
                if end is not None and message.offset() >= end - 1:
                    del left[partition]
            if time.monotonic() - last > _IDLE_TIMEOUT:
                waited = ", ".join(f"{topic}[{number}]" for topic, number in sorted(left))
                raise OperationError(
                    f"{waited}: no message arrived for {_IDLE_TIMEOUT:.0f} s before the end of the range",
                    remedy="check whether a producer keeps a transaction open in the topic",
                )
    except KafkaException as error:
        raise unreachable(config.get("bootstrap.servers", ""), error) from error
    finally:
        consumer.close()


_READING = {
    "isolation.level": "read_committed",
    "enable.partition.eof": "true",
    "auto.offset.reset": "error",
    "fetch.message.max.bytes": "16777216",
}


def _timestamp(found: ListOffsetsResultInfo) -> int | None:
    return found.timestamp if found.offset >= 0 else None


def _find(
    admin: AdminClient, partitions: Iterable[Partition], spec: OffsetSpec, servers: str, clock: Clock
) -> dict[Partition, ListOffsetsResultInfo]:
    missing: dict[str, str] = {}
    try:
        found = find_offsets(admin, partitions, spec, missing, clock)
    except KafkaException as error:
        raise unreachable(servers, error) from error
    refuse_missing(missing, servers)
    return found
