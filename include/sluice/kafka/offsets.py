"""Where a topic's partitions begin and end."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from confluent_kafka import IsolationLevel, KafkaError, KafkaException, TopicPartition
from confluent_kafka.admin import AdminClient, ListOffsetsResultInfo, OffsetSpec

from sluice.errors import UnreachableError
from sluice.kafka.brokers import TIMEOUT, group_member, unreachable

Partition = tuple[str, int]
"""Topic and partition number."""


@dataclass(frozen=True)
class Offsets:
    """A partition's first offset still held, and the offset that the next record will get."""

    start: int
    end: int


@dataclass(frozen=True)
class Held:
    """What the brokers hold of some topics.

    Attributes:
        offsets: Start and end, by partition.
        missing: Why a topic's offsets are not among them, by topic.
        trouble: Why nothing is known of any.
    """

    offsets: Mapping[Partition, Offsets] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    trouble: str | None = None

    def of(self, topics: Iterable[str]) -> dict[Partition, Offsets]:
        """Those of some topics."""
        return {partition: offsets for topic in topics for partition, offsets in self._by_topic.get(topic, {}).items()}

    @cached_property
    def _by_topic(self) -> Mapping[str, Mapping[Partition, Offsets]]:
        found: dict[str, dict[Partition, Offsets]] = {}
        for partition, offsets in self.offsets.items():
            found.setdefault(partition[0], {})[partition] = offsets
        return found


def read_held(admin: AdminClient, topics: Iterable[str], servers: str) -> Held:
    """Start and end of every partition of these topics, however many: three requests in all.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    wanted = frozenset(topics)
    if not wanted:
        return Held()
    try:
        # One topic by its name: a broker may show nobody the list of all.
        known = admin.list_topics(*wanted if len(wanted) == 1 else (), timeout=TIMEOUT).topics
        missing: dict[str, str] = {}
        partitions: list[Partition] = []
        for topic in sorted(wanted):
            found = known.get(topic)
            if found is None or found.error is not None:
                missing[topic] = found.error.str() if found else _UNKNOWN
            else:
                partitions += [(topic, number) for number in found.partitions]
        starts = find_offsets(admin, partitions, OffsetSpec.earliest(), missing)
        ends = find_offsets(admin, partitions, OffsetSpec.latest(), missing)
    except KafkaException as error:
        raise unreachable(servers, error) from error
    complete = ends.keys() & starts.keys()
    held = {p: Offsets(starts[p].offset, ends[p].offset) for p in sorted(complete) if p[0] not in missing}
    return Held(held, missing)


def read_offsets(admin: AdminClient, topics: Iterable[str], servers: str) -> dict[Partition, Offsets]:
    """Start and end of every partition of these topics.

    Raises:
        UnreachableError: the broker doesn't answer, or a topic is gone.
    """
    held = read_held(admin, topics, servers)
    refuse_missing(held.missing, servers)
    return dict(held.offsets)


def read_stable_ends(admin: AdminClient, topics: Iterable[str], servers: str) -> dict[Partition, int]:
    """Where each partition of these topics ends for who reads committed records: before the first open transaction.

    Raises:
        UnreachableError: the broker doesn't answer, or a topic is gone.
    """
    wanted = tuple(topics)
    held = read_offsets(admin, wanted, servers) if wanted else {}
    missing: dict[str, str] = {}
    try:
        found = find_offsets(admin, held, OffsetSpec.latest(), missing, isolation_level=IsolationLevel.READ_COMMITTED)
    except KafkaException as error:
        raise unreachable(servers, error) from error
    refuse_missing(missing, servers)
    return {partition: info.offset for partition, info in found.items()}


def refuse_missing(missing: Mapping[str, str], servers: str) -> None:
    """Raise for the first topic of which nothing is known.

    Raises:
        UnreachableError: says which, and why.
    """
    for topic, why in missing.items():
        raise UnreachableError(
            f"Kafka at {servers}: topic {topic}: {why}", remedy="create it with a deploy of a job that reads it"
        )


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
    for item in found:
        # That a broker refuses to say it of a partition does not mean that nothing was committed.
        if item.error is not None and item.error.code() != KafkaError.UNKNOWN_TOPIC_OR_PART:
            raise unreachable(config.get("bootstrap.servers", ""), KafkaException(item.error))
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


_UNKNOWN = "the broker does not know it"
_MOVING = (KafkaError.LEADER_NOT_AVAILABLE, KafkaError.NOT_LEADER_FOR_PARTITION)
"""For a moment after a topic is made or a leader moves: the broker that was asked leads the partition not yet, or no
longer."""
_MOVED_WITHIN = 5.0
"""Seconds for which that is asked again."""
_PAUSE = 0.2
_OF_THE_CONNECTION = (KafkaError._TRANSPORT, KafkaError._ALL_BROKERS_DOWN, KafkaError._TIMED_OUT)


def find_offsets(
    admin: AdminClient,
    partitions: Iterable[Partition],
    spec: OffsetSpec,
    missing: dict[str, str],
    **options: Any,
) -> dict[Partition, ListOffsetsResultInfo]:
    """What a specification finds in each partition; why nothing is known of a topic goes to `missing`.

    What is wrong with one topic (without a leader, deleted meanwhile) hides no other one. `options` are those of
    `AdminClient.list_offsets`.

    Raises:
        KafkaException: the broker doesn't answer.
    """
    found: dict[Partition, ListOffsetsResultInfo] = {}
    left = set(partitions)
    deadline = time.monotonic() + _MOVED_WITHIN
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
        left = moving if time.monotonic() < deadline else set()
        for partition in sorted(refused.keys() - left):
            missing.setdefault(partition[0], refused[partition].str())
        if left:
            time.sleep(_PAUSE)
    return found
