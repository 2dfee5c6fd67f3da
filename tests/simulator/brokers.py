"""Kafka's brokers in memory: topics with a range of offsets, and the offsets of consumer groups."""

from sluice.kafka.offsets import Offsets
from sluice.kafka.topic_steps import Actual


class FakeBrokers:
    """Has the methods of `sluice.kafka.client.Brokers` that planning and operations call.

    Args:
        ends: Start and end offset by partition.

    Attributes:
        topics: The topics that were created, by name.
        group: The committed offsets of the one consumer group.
    """

    def __init__(self, ends=None):
        self.ends = dict(ends or {})
        self.topics = {}
        self.group = {}

    def describe(self, topics):
        return {name: self.topics[name] for name in topics if name in self.topics}

    def apply(self, steps):
        for step in steps:
            wanted = step.declared
            settings = {str(name): str(value) for name, value in wanted.settings.items()}
            self.topics[wanted.name] = Actual(wanted.name, wanted.partitions, wanted.replication, settings)

    def offsets(self, topics):
        wanted = set(topics)
        return {at: held for at, held in self.ends.items() if at[0] in wanted}

    def stable_ends(self, topics):
        return {at: held.end for at, held in self.offsets(topics).items()}

    def committed(self, _group, partitions):
        return {at: self.group[at] for at in partitions if at in self.group}

    def commit(self, _group, offsets):
        self.group.update(offsets)


def partition(topic, start=0, end=0, number=0):
    """The range of one partition, as `FakeBrokers` takes it."""
    return {(topic, number): Offsets(start, end)}
