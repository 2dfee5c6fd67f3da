"""Start and end offsets of partitions, and the committed offsets of consumer groups."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec

from sluice.clock import MACHINE, Clock
from sluice.errors import UnreachableError
from sluice.kafka.brokers import TIMEOUT, group_member, unreachable

Partition = tuple[str, int]
"""Topic and partition number."""


@dataclass(frozen=True)
class Offsets:
    """A partition's first available offset, and the offset that the next record will get."""

    start: int
    end: int


@dataclass(frozen=True)
class Held:
    """Start and end offsets of topics, as far as the brokers could give them.

    Attributes:
        offsets: Start and end offset by partition.
        missing: By topic: why its offsets are missing.
        trouble: Why no offset of any topic is known; None: the brokers answered.
    """

    offsets: Mapping[Partition, Offsets] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    trouble: str | None = None

    def of(self, topics: Iterable[str]) -> dict[Partition, Offsets]:
        """The offsets of these topics."""
        return {partition: offsets for topic in topics for partition, offsets in self._by_topic.get(topic, {}).items()}

    @cached_property
    def _by_topic(self) -> Mapping[str, Mapping[Partition, Offsets]]:
        found: dict[str, dict[Partition, Offsets]] = {}
        for partition, offsets in self.offsets.items():
            found.setdefault(partition[0], {})[partition] = offsets
        return found


def read_held(admin: AdminClient, topics: Iterable[str], servers: str, clock: Clock = MACHINE) -> Held:
    """Start and end offset of every partition of these topics, in three requests for any number of topics.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    wanted = frozenset(topics)
    if not wanted:
        return Held()
    try:
        # A single topic is requested by its name: access control may forbid to list all topics.
        known = admin.list_topics(*wanted if len(wanted) == 1 else (), timeout=TIMEOUT).topics
        missing: dict[str, str] = {}
        partitions: list[Partition] = []
        for topic in sorted(wanted):
            found = known.get(topic)
            if found is None or found.error is not None:
                missing[topic] = found.error.str() if found else _UNKNOWN
            else:
                partitions += [(topic, number) for number in found.partitions]
        starts = find_offsets(admin, partitions, OffsetSpec.earliest(), missing, clock)
        ends = find_offsets(admin, partitions, OffsetSpec.latest(), missing, clock)
    except KafkaException as error:
        raise unreachable(servers, error) from error
    complete = ends.keys() & starts.keys()
    held = {p: Offsets(starts[p].offset, ends[p].offset) for p in sorted(complete) if p[0] not in missing}
    return Held(held, missing)


def read_offsets(
    admin: AdminClient, topics: Iterable[str], servers: str, clock: Clock = MACHINE
) -> dict[Partition, Offsets]:
    """Start and end offset of every partition of these topics.

    Raises:
        UnreachableError: the broker doesn't answer, or a topic doesn't exist.
    """
    held = read_held(admin, topics, servers, clock)
    refuse_missing(held.missing, servers)
    return dict(held.offsets)


def read_stable_ends(
    admin: AdminClient, topics: Iterable[str], servers: str, clock: Clock = MACHINE
) -> dict[Partition, int]:
    """The last stable offset of every partition: consumers of committed records stop at the first open transaction.

    Raises:
        UnreachableError: the broker doesn't answer, or a topic doesn't exist.
    """
    wanted = tuple(topics)
    held = read_offsets(admin, wanted, servers, clock) if wanted else {}
    missing: dict[str, str] = {}
    committed = IsolationLevel.READ_COMMITTED
    try:
        found = find_offsets(admin, held, OffsetSpec.latest(), missing, clock, isolation_level=committed)
    except KafkaException as error:
        raise unreachable(servers, error) from error
    refuse_missing(missing, servers)
    return {partition: info.offset for partition, info in found.items()}


def refuse_missing(missing: Mapping[str, str], servers: str) -> None:
    """Raise for the first topic whose offsets are missing.

    Raises:
        UnreachableError: names the topic and the reason.
    """
    for topic, why in missing.items():
        raise UnreachableError(
            f"Kafka at {servers}: topic {topic}: {why}", remedy="deploy a job that reads the topic, which creates it"
        )


def read_committed(config: Mapping[str, str], group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
    """The committed offsets of a consumer group: per partition the next offset to read.

    Uses a consumer of the group: librdkafka's admin request crashes the process while the group's coordinator moves
    (confluent-kafka-javascript issue 374).

    Args:
        config: librdkafka's configuration.
        group: The consumer group.
        partitions: The partitions; those without a committed offset are left out of the result.

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
    for item in found:
        # Any other error of a partition does not mean that no offset was committed.
        if item.error is not None and item.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise unreachable(config.get("bootstrap.servers", ""), KafkaException(item.error))
    return {(item.topic, item.partition): item.offset for item in found if item.offset >= 0}


def commit_group(config: Mapping[str, str], group: str, offsets: Mapping[Partition, int]) -> None:
    """Set the committed offsets of a consumer group, which must have no active members.

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
    """The partitions that have no record to read at or after the given offset.

    Reads from there as a consumer of committed records: it gets a record, or reaches the end of what is committed. The
    offsets in between may be transaction markers, or records of aborted transactions. If that end lies before the end
    of the partition, an open transaction holds records back, which are still to be read.

    Args:
        config: librdkafka's configuration.
        group: The job's consumer group; no offsets are committed.
        following: The next offset to read, by partition.

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
                # Timeout: the remaining partitions count as not read to the end.
                break
            error = message.error()
            partition = (message.topic(), message.partition())
            if error is not None and error.code() not in _OF_A_PARTITION:
                raise unreachable(config.get("bootstrap.servers", ""), KafkaException(error))
            if error is not None and error.code() == KafkaError._PARTITION_EOF:
                # The answer to the fetch contained both ends.
                _, high = consumer.get_watermark_offsets(TopicPartition(*partition), cached=True)
                ended.update({partition} if message.offset() >= high else ())
            open_.discard(partition)
    except KafkaException as error:
        raise unreachable(config.get("bootstrap.servers", ""), error) from error
    finally:
        consumer.close()
    return frozenset(ended)


_OF_A_PARTITION = (KafkaError._PARTITION_EOF, KafkaError._AUTO_OFFSET_RESET)
"""Errors of one partition: its end is reached, or its offset has been deleted."""
_READ_ON = {
    "isolation.level": "read_committed",
    "enable.partition.eof": "true",
    "auto.offset.reset": "error",
    # A single record is enough.
    "fetch.message.max.bytes": "1024",
    "queued.min.messages": "1",
}


_UNKNOWN = "the broker does not know this topic"
_MOVING = (KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION)
"""Transient errors after a topic is created or a leader moves: the broker is not yet, or no longer, the leader."""
_MOVED_WITHIN = 5.0
"""Seconds for which the request is repeated after these errors."""
_PAUSE = 0.2
_OF_THE_CONNECTION = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT)


def find_offsets(
    admin: AdminClient,
    partitions: Iterable[Partition],
    spec: OffsetSpec,
    missing: dict[str, str],
    clock: Clock = MACHINE,
    **options: Any,
) -> dict[Partition, ListOffsetsResultInfo]:
    """The offset in each partition that a specification matches; a topic's error goes to `missing`.

    The error of one topic (no leader, or deleted) doesn't affect the others. `options` are those of
    `AdminClient.list_offsets`.

    Raises:
        KafkaException: the broker doesn't answer.
    """
    found: dict[Partition, ListOffsetsResultInfo] = {}
    left = set(partitions)
    deadline = clock.monotonic() + _MOVED_WITHIN
    while left:
        refused = {}
        wanted = {TopicPartition(topic, number): spec for topic, number in left}
        for asked, future in admin.list_offsets(wanted, request_timeout=TIMEOUT, **options).items():
            try:
                found[asked.topic, asked.partition] = future.result()
            except KafkaException as error:
                if error.args[0].code() in _OF_THE_CONNECTION:
                    raise
                refused[asked.topic, asked.partition] = error.args[0]
        moving = {partition for partition, error in refused.items() if error.code() in _MOVING}
        left = moving if clock.monotonic() < deadline else set()
        for partition in sorted(refused.keys() - left):
            missing.setdefault(partition[0], refused[partition].str())
        if left:
            clock.sleep(_PAUSE)
    return found
