"""Kafka's brokers in memory: topics with a range of offsets, and the offsets of consumer groups."""

from datetime import UTC, datetime

from sluice.job.duration import epoch_milliseconds
from sluice.kafka.history import Moments
from sluice.kafka.offsets import Held, Offsets
from sluice.kafka.topic_steps import Actual


class SimulatedBrokers:
    """Has the methods of `sluice.kafka.client.Brokers` that planning and operations call.

    Args:
        ends: Start and end offset by partition.

    Attributes:
        topics: The topics that were created, by name.
        group: The committed offsets of the one consumer group.
        arrivals: The first and the last moment between which the records of each partition arrived, evenly.
        errors: The errors of the next requests for offsets, first to last; None: an answer.
        described: The names of each request for topics.
    """

    def __init__(self, ends=None):
        self.ends = dict(ends or {})
        self.topics = {}
        self.group = {}
        self.arrivals = datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        self.errors = []
        self.described = []

    def describe(self, topics):
        topics = tuple(topics)
        self.described.append(topics)
        return {name: self.topics[name] for name in topics if name in self.topics}

    def apply(self, steps):
        for step in steps:
            wanted = step.declared
            settings = {str(name): str(value) for name, value in wanted.settings.items()}
            self.topics[wanted.name] = Actual(wanted.name, wanted.partitions, wanted.replication, settings)

    def offsets(self, topics):
        if self.errors and (error := self.errors.pop(0)):
            raise error
        wanted = set(topics)
        return {at: held for at, held in self.ends.items() if at[0] in wanted}

    def held(self, topics):
        return Held(self.offsets(topics))

    def stable_ends(self, topics):
        return {at: held.end for at, held in self.offsets(topics).items()}

    def moments(self, partitions):
        return {at: Moments(*map(epoch_milliseconds, self.arrivals)) for at in partitions}

    def offsets_at(self, offsets, moment):
        first, last = self.arrivals
        share = min(1.0, max(0.0, (moment - first) / (last - first)))
        return {at: held.start + round(share * (held.end - held.start)) for at, held in offsets.items()}

    def messages(self, _group, _offsets):
        return iter(())

    def committed(self, _group, partitions):
        return {at: self.group[at] for at in partitions if at in self.group}

    def read_to_end(self, _group, following):
        return frozenset(at for at, offset in following.items() if offset >= self.ends[at].end)

    def commit(self, _group, offsets):
        self.group.update(offsets)


def partition(topic, start=0, end=0, number=0):
    """The range of one partition, as `SimulatedBrokers` takes it."""
    return {(topic, number): Offsets(start, end)}
