"""What topics held when: offsets by time, and reading what lies between two offsets."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from confluent_kafka import KafkaError, KafkaException, Message, TopicPartition
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec

from sluice.errors import OperationError
from sluice.job.duration import epoch_milliseconds
from sluice.kafka.brokers import group_member, unreachable
from sluice.kafka.offsets import Offsets, Partition, find_offsets, refuse_missing

_PATIENCE = 30.0
"""Seconds without a message, or the end of the topic."""


@dataclass(frozen=True)
class Moments:
    """Kafka timestamps that a partition holds, epoch milliseconds; None: it is empty."""

    first: int | None
    last: int | None


def offsets_at(
    admin: AdminClient, held: Mapping[Partition, Offsets], moment: datetime, servers: str
) -> dict[Partition, int]:
    """Per partition the first offset whose timestamp is at or after a moment; its end where there is none.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    found = _find(admin, held, OffsetSpec.for_timestamp(epoch_milliseconds(moment)), servers)
    return {place: offsets.end if found[place].offset < 0 else found[place].offset for place, offsets in held.items()}


def held_moments(admin: AdminClient, partitions: Collection[Partition], servers: str) -> dict[Partition, Moments]:
    """Per partition the timestamp of its first record, and its largest one.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    firsts = _find(admin, partitions, OffsetSpec.for_timestamp(0), servers)
    lasts = _find(admin, partitions, OffsetSpec.max_timestamp(), servers)
    return {place: Moments(_timestamp(firsts[place]), _timestamp(lasts[place])) for place in partitions}


def read_between(
    config: Mapping[str, str], group: str, offsets: Mapping[Partition, tuple[int, int]]
) -> Iterator[Message]:
    """The committed messages of each partition from one offset up to another.

    Args:
        config: librdkafka's configuration.
        group: Whose access it is; nothing is committed.
        offsets: Per partition the first offset, and the one before which it ends.

    Raises:
        OperationError: the broker doesn't give them.
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
                    if error.code() != KafkaError._PARTITION_EOF:  # it has no other name
                        raise OperationError(f"{message.topic()}: {error.str()}")
                    # Short of the end stands a transaction that is open, or whose end is being written.
                    if (message.offset() or 0) >= left.get(partition, 0):
                        left.pop(partition, None)
                    continue
                end = left.get(partition)
                if end is not None and message.offset() < end:
                    yield message
                if end is not None and message.offset() >= end - 1:
                    del left[partition]
            if time.monotonic() - last > _PATIENCE:
                waited = ", ".join(f"{topic}[{number}]" for topic, number in sorted(left))
                raise OperationError(
                    f"{waited}: nothing came for {_PATIENCE:.0f} s, and it has not come to its end",
                    remedy="see whether somebody keeps a transaction open there",
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
    admin: AdminClient, partitions: Iterable[Partition], spec: OffsetSpec, servers: str
) -> dict[Partition, ListOffsetsResultInfo]:
    missing: dict[str, str] = {}
    try:
        found = find_offsets(admin, partitions, spec, missing)
    except KafkaException as error:
        raise unreachable(servers, error) from error
    refuse_missing(missing, servers)
    return found
