"""Live traffic: messages at a rate, as they would come now."""

from __future__ import annotations

import time

from confluent_kafka import KafkaException

from sluice.local.traffic.generator import Traffic
from sluice.local.traffic.wire import producer

TOPIC = "analytics_events"


def feed(servers: str, rate: float) -> None:
    """Feed the topic until the process is ended; waits for the topic to be there."""
    out = producer(servers)
    partitions = _await_partitions(out)
    begun = time.time()
    # Another start is another seed: the same visitors would come twice.
    traffic = Traffic(seed=int(begun), rate=rate, start_ms=int(begun * 1000), partitions=partitions)
    for message in traffic:
        ahead = message.at_ms / 1000 - time.time()
        if ahead > 0:
            out.poll(0)
            time.sleep(ahead)
        out.produce(TOPIC, message.value, message.key, partition=message.partition, timestamp=message.at_ms)


def _await_partitions(out) -> int:  # type: ignore[no-untyped-def]
    while True:
        try:
            found = out.list_topics(TOPIC, timeout=5).topics.get(TOPIC)
        except KafkaException:
            found = None
        if found is not None and found.error is None and found.partitions:
            return len(found.partitions)
        time.sleep(1)
