"""A broker that holds some topics: what is asked of an admin client, as a plain object."""

import time
from concurrent.futures import Future
from types import SimpleNamespace

from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import OffsetSpec

from sluice.kafka.client import Brokers


class HeldBrokers(Brokers):
    """`Brokers` over a fake admin client, without consumers: these would wait for brokers that don't exist."""

    def __init__(self, topics: "HeldTopics") -> None:
        super().__init__({"bootstrap.servers": "nowhere:1"}, topics)

    def read_to_end(self, _group, _following):
        return frozenset()


class HeldTopics:
    """Answers like `confluent_kafka.admin.AdminClient`, as far as ends of topics go, and counts.

    Args:
        ends: By topic: the end of each partition, all of which begin at 0.
        seconds: What each call takes.
        is_down: Nothing answers.
    """

    def __init__(self, ends: dict[str, list[int]], seconds: float = 0, *, is_down: bool = False) -> None:
        self.ends = ends
        self.seconds = seconds
        self.is_down = is_down
        self.calls = 0

    def list_topics(self, topic=None, **_given):
        self._take()
        return SimpleNamespace(
            topics={
                name: SimpleNamespace(error=None, partitions=dict.fromkeys(range(len(ends))))
                for name, ends in self.ends.items()
                if topic in (None, name)
            }
        )

    def list_offsets(self, wanted, **_given):
        self._take()
        is_end = OffsetSpec.latest()
        return {
            asked: _done(self.ends[asked.topic][asked.partition] if spec._value == is_end._value else 0)
            for asked, spec in wanted.items()
        }

    def _take(self):
        self.calls += 1
        time.sleep(self.seconds)
        if self.is_down:
            raise KafkaException(KafkaError(KafkaError._ALL_BROKERS_DOWN))


def _done(offset):
    future = Future()
    future.set_result(SimpleNamespace(offset=offset))
    return future
