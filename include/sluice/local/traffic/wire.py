"""Messages to and from the broker."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, Producer, TopicPartition

from sluice.errors import OperationError
from sluice.local.traffic.generator import Message


@dataclass(frozen=True)
class Received:
    """A message as a consumer sees it."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, str]
    partition: int
    offset: int


def producer(servers: str) -> Producer:
    """A producer that keeps the order, loses nothing and writes nothing twice."""
    return Producer(
        {
            "bootstrap.servers": servers,
            "enable.idempotence": True,
            "linger.ms": 20,
            "compression.type": "lz4",
            "queue.buffering.max.messages": 1_000_000,
            "message.max.bytes": 2_000_000,
        }
    )


def produce(servers: str, topic: str, messages: Iterable[Message]) -> None:
    """Write the messages, each with its own timestamp.

    Raises:
        OperationError: the broker refuses one.
    """
    errors: list[str] = []
    out = producer(servers)

    def delivered(error: Any, _message: Any) -> None:
        if error:
            errors.append(str(error))

    for message in messages:
        while True:
            try:
                out.produce(
                    topic,
                    message.value,
                    message.key,
                    partition=message.partition,
                    timestamp=message.at_ms,
                    on_delivery=delivered,
                )
                break
            except BufferError:
                out.poll(0.5)
        out.poll(0)
    out.flush(60)
    if errors:
        raise OperationError(f"{len(errors)} messages were not written to {topic}: {errors[0]}")


def consume(servers: str, topic: str, *, quiet: float = 2.0) -> list[Received]:
    """Every committed message that the topic holds now, until nothing more comes for `quiet` seconds."""
    consumer = Consumer(
        {
            "bootstrap.servers": servers,
            "group.id": f"sluice-reader-{time.time_ns()}",
            "isolation.level": "read_committed",
            "enable.auto.commit": False,
            "fetch.message.max.bytes": 16_777_216,
        }
    )
    try:
        partitions = consumer.list_topics(topic, timeout=10).topics[topic].partitions
        consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        found: list[Received] = []
        last = time.monotonic()
        while time.monotonic() - last < quiet:
            for message in consumer.consume(1000, timeout=0.5):
                if message.error():
                    raise OperationError(f"{topic}: {message.error()}")
                headers = {name: value.decode() for name, value in message.headers() or []}
                found.append(Received(message.key(), message.value(), headers, message.partition(), message.offset()))
                last = time.monotonic()
        return found
    finally:
        consumer.close()


def rows(servers: str, topic: str, *, quiet: float = 2.0) -> list[dict[str, Any]]:
    """The rows of a job's output; ISO 8601 times as datetimes."""
    return [_row(json.loads(message.value or b"{}")) for message in consume(servers, topic, quiet=quiet)]


def _row(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value)
        if isinstance(value, str) and name in ("window_start", "window_end", "start_time", "end_time", "max_watermark")
        else value
        for name, value in values.items()
    }
