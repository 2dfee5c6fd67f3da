"""Produce messages."""

from __future__ import annotations

from typing import Any


def produce(out: Any, topic: str, value: bytes | None, key: bytes | None, **more: Any) -> None:
    """Produce a message. Waits while the producer's queue is full: the brokers may be slow or unreachable.

    Args:
        out: The producer.
        topic: The topic.
        value: The message's value; None: a tombstone.
        key: The message's key.
        more: Arguments of `confluent_kafka.Producer.produce`: `partition`, `timestamp`, `on_delivery`.
    """
    while True:
        try:
            out.produce(topic, value, key, **more)
        except BufferError:
            out.poll(0.5)
        else:
            return
