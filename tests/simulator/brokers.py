"""Kafka's brokers in memory: topics with a range of offsets, and the offsets of consumer groups."""

from sluice.kafka.offsets import Held, Offsets
from sluice.kafka.topic_steps import Actual


class FakeBrokers:
    """Stands for `sluice.kafka.client.Brokers`.

    Args:
        ends: Start and end offset by partition; every topic among them exists.
        rows: The messages of each topic, for `messages`.

    Attributes:
        topics: The topics that were created or described, by name.
        group: The committed offsets of the one consumer group.
    """

    servers = "kafka:9092"

    def __init__(self, ends=None, rows=None):
        self.ends = dict(ends or {})
        self.rows = dict(rows or {})
        self.topics = {}
        self.group = {}

    def describe(self, topics):
        return {name: self.topics[name] for name in topics if name in self.topics}

    def apply(self, steps):
        for step in steps:
            wanted = step.declared
            settings = {str(name): str(value) for name, value in wanted.settings.items()}
            self.topics[wanted.name] = Actual(wanted.name, wanted.partitions, wanted.replication, settings)

    def held(self, topics):
        return Held(self.offsets(topics))

    def offsets(self, topics):
        wanted = set(topics)
        return {at: held for at, held in self.ends.items() if at[0] in wanted}

    def stable_ends(self, topics):
        return {at: held.end for at, held in self.offsets(topics).items()}

    def committed(self, _group, partitions):
        return {at: self.group[at] for at in partitions if at in self.group}

    def commit(self, _group, offsets):
        self.group.update(offsets)

    def read_to_end(self, _group, following):
        return frozenset(at for at, offset in following.items() if at in self.ends and offset >= self.ends[at].end)

    def messages(self, _group, offsets):
        for (topic, number), (start, end) in offsets.items():
            for message in self.rows.get((topic, number), ()):
                if start <= message.offset() < end:
                    yield message

    def drop(self, topic):
        """Delete the topic."""
        self.topics.pop(topic, None)
        self.ends = {at: held for at, held in self.ends.items() if at[0] != topic}


def partition(topic, start=0, end=0, number=0):
    """The range of one partition, as `FakeBrokers` takes it."""
    return {(topic, number): Offsets(start, end)}
