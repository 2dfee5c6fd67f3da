"""Handing messages to a producer."""

from __future__ import annotations

from typing import Any


def produce(out: Any, topic: str, value: bytes | None, key: bytes | None, **more: Any) -> None:
    """Hand a message over, once there is room: the brokers may be slower, or gone for a while.

    Args:
        out: The producer.
        topic: Where it goes.
        value: The message's; None: it is a deletion.
        key: The message's.
        more: As `confluent_kafka.Producer.produce` takes it: `partition`, `timestamp`, `on_delivery`.
    """
    while True:
        try:
            out.produce(topic, value, key, **more)
        except BufferError:
            out.poll(0.5)
        else:
            return
