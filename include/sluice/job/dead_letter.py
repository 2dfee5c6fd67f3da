"""Dead letters: malformed records with their original bytes, their position and the reason."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from sluice.job.record import FlinkType, Record


class DeadLetter(Record):
    """A malformed record. In its topic, value and key are the original bytes; the other fields are headers.

    Headers, as text in UTF-8: `reason`, `topic`, `partition`, `offset`, `arrival_time` (ISO 8601, UTC).
    """

    key: bytes | None
    value: bytes | None
    reason: str
    """`<kind>: <details>`; kinds: empty, too long, not UTF-8, not JSON, not an object, missing field, wrong type,
    absurd event time."""
    topic: str
    partition: Annotated[int, FlinkType("INT")]
    offset: int
    arrival_time: datetime
    """The Kafka timestamp of the original record."""
