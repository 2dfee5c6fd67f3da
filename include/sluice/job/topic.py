"""A Kafka topic as a job declares it: its record, its creation settings, and how it is read and written."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sluice.errors import ConfigError
from sluice.job.duration import Duration
from sluice.job.record import Record

Delivery = Literal["exactly-once", "at-least-once"]
Start = Literal["earliest", "latest"]
Positive = Annotated[Duration, Field(gt=timedelta(0))]
NonNegative = Annotated[Duration, Field(ge=timedelta(0))]


class Kafka(BaseModel):
    """A topic, its record, and the settings for reading or writing it.

    A deployment file can set every field except `record`, `key`, `event_time` and `every_record`, under
    `reads.<name>` or `writes`.

    Reading: the *arrival* of a record is its Kafka timestamp. A record is malformed if it breaks the contract of
    `record`, is longer than `max_bytes`, or if its event time is more than `future_tolerance` after or
    `past_tolerance` before its arrival. It is late if its event time is more than `watermark_delay` before its
    arrival. Both depend on the record alone, so that a replay drops the same records as the live run.
    The watermark follows the arrival: arrival - `watermark_delay` - `arrival_skew`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)

    topic: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
    record: type[Record]
    key: tuple[str, ...] = ()
    """The fields that identify a row; they form the message key. Upserts, parity and promotion compare rows by it."""

    partitions: Annotated[int, Field(ge=1, le=10_000)] = 1
    replication: Annotated[int, Field(ge=1, le=32)] = 1
    settings: Mapping[str, str] = Field(default_factory=dict)
    """The broker's settings of the topic, e.g. {"retention.ms": "604800000"}; other settings stay as they are."""

    event_time: str | None = None
    """The record's field with the event time: epoch milliseconds (`int`) or a `datetime`."""
    watermark_delay: NonNegative = timedelta(seconds=10)
    arrival_skew: NonNegative = timedelta(seconds=1)
    """How far Kafka timestamps in a partition may go backwards, as they do with several producers."""
    idle_timeout: Positive | None = timedelta(seconds=30)
    """A partition without records for this long no longer holds back the watermark; None: it always does. If the time
    is short, a partition that isn't read for that long during a backlog counts as idle, and its records become late."""
    future_tolerance: Positive = timedelta(hours=1)
    past_tolerance: Positive = timedelta(days=365)
    max_bytes: Annotated[int, Field(ge=1, le=100_000_000)] = 262_144
    start: Start = "earliest"
    """The offset from which a job without state begins to read."""

    every_record: bool = False
    """See `with_malformed`."""

    delivery: Delivery = "exactly-once"
    transaction_timeout: Positive = timedelta(minutes=15)
    """Must exceed the longest checkpoint plus the longest restart; at most the broker's transaction.max.timeout.ms."""

    def __init__(self, topic: str | None = None, /, **data: Any) -> None:
        super().__init__(**({"topic": topic} if topic is not None else {}), **data)

    def model_post_init(self, _context: Any, /) -> None:
        """Check that `key` and `event_time` name fields of the record."""
        fields = self.record.model_fields
        named = (*self.key, *([self.event_time] if self.event_time else []))
        for name in named:
            if name not in fields:
                raise ConfigError(
                    f'topic {self.topic}: "{name}" is not a field of {self.record.__name__}',
                    remedy=f"name one of {', '.join(fields)}",
                )

    @property
    def has_watermark(self) -> bool:
        """Whether a read of the topic has a watermark: by event time, or with `every_record` by arrival."""
        return bool(self.event_time) or self.every_record

    def with_malformed(self) -> Kafka:
        """This topic, read with all its records, including malformed and late ones.

        The read's table has these columns: `reason` (why the record is malformed; null: it isn't), `late`, `value` and
        `key` (bytes), `topic`, `partition`, `offset`, `arrival_time` (the rowtime).
        """
        return Kafka(**{**dict(self), "every_record": True})

    def with_settings(self, values: Mapping[str, Any]) -> Kafka:
        """This topic with the values of a deployment file, validated.

        Raises:
            pydantic.ValidationError: an unknown field, or a value out of range.
        """
        return Kafka(**{**dict(self), **values})


DEPLOYABLE_FIELDS: tuple[str, ...] = tuple(
    name
    for name in Kafka.__annotations__
    if name not in ("model_config", "record", "key", "event_time", "every_record")
)
"""The fields of a topic that a deployment file may set."""
