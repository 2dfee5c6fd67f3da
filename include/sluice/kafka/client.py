"""The brokers of an environment: what planning, operations and health ask of Kafka goes through here."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from datetime import datetime

from confluent_kafka import Message
from confluent_kafka.admin import AdminClient

from sluice.clock import MACHINE, Clock
from sluice.kafka.brokers import connect
from sluice.kafka.history import Moments, held_moments, offsets_at, read_between
from sluice.kafka.offsets import (
    Held,
    Offsets,
    Partition,
    commit_group,
    find_read_to_end,
    read_committed,
    read_held,
    read_offsets,
    read_stable_ends,
)
from sluice.kafka.topic_steps import Actual, Step
from sluice.kafka.topics import apply, describe


class Brokers:
    """Requests to the brokers.

    Every method raises UnreachableError if the brokers don't answer. A topic that doesn't exist is reported as in the
    function that the method calls.

    Args:
        config: librdkafka's configuration.
        admin: The admin client; None: one per process and configuration.
        clock: The clock by which requests are repeated while a partition's leader moves.
    """

    def __init__(self, config: Mapping[str, str], admin: AdminClient | None = None, *, clock: Clock = MACHINE) -> None:
        self._config = config
        self._admin = admin
        self._clock = clock

    @property
    def servers(self) -> str:
        """The brokers' addresses, for messages."""
        return self._config.get("bootstrap.servers", "")

    def describe(self, topics: Iterable[str]) -> dict[str, Actual]:
        """The topics among these that exist."""
        return describe(self._client, topics, self.servers)

    def apply(self, steps: Iterable[Step]) -> None:
        """Create or change topics. See `sluice.kafka.topics.apply`."""
        apply(self._client, steps, self.servers, self._clock)

    def held(self, topics: Iterable[str]) -> Held:
        """Start and end offsets, with the reason for each topic that has none."""
        return read_held(self._client, topics, self.servers, self._clock)

    def offsets(self, topics: Iterable[str]) -> dict[Partition, Offsets]:
        """Start and end offset of every partition of these topics."""
        return read_offsets(self._client, topics, self.servers, self._clock)

    def stable_ends(self, topics: Iterable[str]) -> dict[Partition, int]:
        """The last stable offset of every partition of these topics."""
        return read_stable_ends(self._client, topics, self.servers, self._clock)

    def moments(self, partitions: Collection[Partition]) -> dict[Partition, Moments]:
        """The moments of the first and last records. See `sluice.kafka.history.held_moments`."""
        return held_moments(self._client, partitions, self.servers, self._clock)

    def offsets_at(self, offsets: Mapping[Partition, Offsets], moment: datetime) -> dict[Partition, int]:
        """The first offset at or after a moment in each partition. See `sluice.kafka.history.offsets_at`."""
        return offsets_at(self._client, offsets, moment, self.servers, self._clock)

    def committed(self, group: str, partitions: Iterable[Partition]) -> dict[Partition, int]:
        """The committed offsets of a consumer group; partitions without one are left out."""
        return read_committed(self._config, group, partitions)

    def commit(self, group: str, offsets: Mapping[Partition, int]) -> None:
        """Set the committed offsets of a consumer group without active members."""
        commit_group(self._config, group, offsets)

    def read_to_end(self, group: str, following: Mapping[Partition, int]) -> frozenset[Partition]:
        """The partitions without a record to read at or after the given offset."""
        return find_read_to_end(self._config, group, following)

    def messages(self, group: str, offsets: Mapping[Partition, tuple[int, int]]) -> Iterator[Message]:
        """The messages in an offset range of each partition. See `sluice.kafka.history.read_between`."""
        return read_between(self._config, group, offsets)

    @property
    def _client(self) -> AdminClient:
        # A forked process needs a client of its own, so it is looked up at each request.
        # An idle client is false: its length is that of its queue.
        return connect(self._config) if self._admin is None else self._admin
