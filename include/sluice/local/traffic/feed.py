"""Live traffic: messages at a given rate, with present timestamps."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Any

from confluent_kafka import KafkaException

from sluice.local.traffic.generator import Message, Traffic
from sluice.local.traffic.wire import producer, put
from sluice.terminal import console

TOPIC = "analytics_events"


def feed(servers: str, rate: float, seed: int | None = None) -> None:
    """Send messages to the topic until the process is stopped; waits until the topic exists.

    Args:
        servers: The brokers.
        rate: Messages per second.
        seed: The seed of the traffic; None: another one at each start, so that the same visitors don't come twice.
    """
    out = producer(servers)
    partitions = _await_partitions(out)
    begun = time.time()
    seed = int(begun) if seed is None else seed
    send(out, Traffic(seed=seed, rate=rate, start_ms=int(begun * 1000), partitions=partitions))


def send(out: Any, messages: Iterable[Message]) -> None:
    """Send each message at its timestamp, an overdue one at once; log those that the broker doesn't take.

    Args:
        out: A producer.
        messages: The messages by timestamp.
    """
    lost: list[str] = []

    def delivered(error: Any, _message: Any) -> None:
        if error:
            lost.append(str(error))

    for message in messages:
        ahead = message.at_ms / 1000 - time.time()
        if ahead > 0:
            time.sleep(ahead)
        put(out, TOPIC, message, delivered)
        out.poll(0)
        if lost:
            console.print(f"{len(lost)} events were not written to {TOPIC}: {lost[-1]}", markup=False)
            lost.clear()


def _await_partitions(out: Any) -> int:
    while True:
        try:
            found = out.list_topics(TOPIC, timeout=5).topics.get(TOPIC)
        except KafkaException:
            found = None
        if found is not None and found.error is None and found.partitions:
            return len(found.partitions)
        time.sleep(1)
