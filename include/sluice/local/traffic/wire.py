"""Messages to and from the broker."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import confluent_kafka
from confluent_kafka import Producer

from sluice.errors import OperationError
from sluice.kafka import producing
from sluice.kafka.client import Brokers
from sluice.local.traffic.generator import Message


@dataclass(frozen=True)
class Received:
    """A consumed message; `at_ms` is its timestamp in epoch milliseconds."""

    key: bytes | None
    value: bytes | None
    headers: dict[str, str]
    partition: int
    offset: int
    at_ms: int


def producer(servers: str) -> Producer:
    """An idempotent producer, which keeps the order of messages."""
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


def put(out: Any, topic: str, message: Message, delivered: Callable[[Any, Any], None]) -> None:
    """Hand one message to a producer, with its own timestamp and partition.

    Args:
        out: The producer.
        topic: The topic.
        message: The message.
        delivered: The delivery callback.
    """
    place = {"partition": message.partition, "timestamp": message.at_ms, "on_delivery": delivered}
    producing.produce(out, topic, message.value, message.key, **place)


def produce(servers: str, topic: str, messages: Iterable[Message]) -> None:
    """Write the messages, each with its own timestamp.

    Raises:
        OperationError: the broker refuses a message.
    """
    errors: list[str] = []
    out = producer(servers)

    def delivered(error: Any, _message: Any) -> None:
        if error:
            errors.append(str(error))

    for message in messages:
        put(out, topic, message, delivered)
        out.poll(0)
    out.flush(60)
    if errors:
        raise OperationError(f"{len(errors)} messages were not written to {topic}: {errors[0]}")


def consume(servers: str, topic: str) -> list[Received]:
    """All committed messages that the topic holds now.

    Raises:
        OperationError: the broker returns an error.
        UnreachableError: it doesn't answer, or the topic doesn't exist.
    """
    brokers = Brokers({"bootstrap.servers": servers})
    bounds = {partition: (offsets.start, offsets.end) for partition, offsets in brokers.offsets([topic]).items()}
    return [_received(message) for message in brokers.messages("sluice-reader", bounds)]


def _received(message: confluent_kafka.Message) -> Received:
    headers = {name: value.decode() for name, value in message.headers() or []}
    place = (message.partition() or 0, message.offset() or 0, message.timestamp()[1])
    return Received(message.key(), message.value(), headers, *place)


def rows(servers: str, topic: str) -> list[dict[str, Any]]:
    """The rows of a job's output topic, with ISO 8601 times as datetimes."""
    return [_row(json.loads(message.value or b"{}")) for message in consume(servers, topic)]


def _row(values: dict[str, Any]) -> dict[str, Any]:
    return {
        name: datetime.fromisoformat(value)
        if isinstance(value, str) and name in ("window_start", "window_end", "start_time", "end_time", "max_watermark")
        else value
        for name, value in values.items()
    }
