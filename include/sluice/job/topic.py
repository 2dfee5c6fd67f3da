"""A Kafka topic as a job declares it: what it holds, how it is made, how it is read and written."""

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

    Every field but `record`, `key`, `event_time` and `every_record` can be set for a deployment, under `reads.<name>`
    or `writes`.

    Reading. The *arrival* of a record is its Kafka timestamp. A record is malformed if it breaks the contract of
    `record`, is longer than `max_bytes`, or its event time is more than `future_tolerance` after or
    `past_tolerance` before its arrival; late if its event time is more than `watermark_delay` before its
    arrival. Both are properties of the record alone, so that a replay finds the same ones as the live run.
    The watermark follows the arrival: arrival - `watermark_delay` - `arrival_skew`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", validate_default=True, defer_build=True)

    topic: Annotated[str, Field(pattern=r"^[a-zA-Z0-9._-]{1,249}$")]
    record: type[Record]
    key: tuple[str, ...] = ()
    """A row's identity and the message key: what an upsert, a parity check and a promotion compare by."""

    partitions: Annotated[int, Field(ge=1, le=10_000)] = 1
    replication: Annotated[int, Field(ge=1, le=32)] = 1
    settings: Mapping[str, str] = Field(default_factory=dict)
    """Topic settings of the broker, e.g. {"retention.ms": "604800000"}; those not named are left alone."""

    event_time: str | None = None
    """The record's field with the event time: epoch milliseconds (`int`) or a `datetime`."""
    watermark_delay: NonNegative = timedelta(seconds=10)
    arrival_skew: NonNegative = timedelta(seconds=1)
    """How far Kafka timestamps within a partition may run backwards (several producers)."""
    idle_timeout: Positive | None = timedelta(seconds=30)
    """A partition without records for this long no longer holds the watermark back; None: it always does. A short time
    costs rows: one that is kept waiting for so long while a backlog is read is behind when it is read again."""
    future_tolerance: Positive = timedelta(hours=1)
    past_tolerance: Positive = timedelta(days=365)
    max_bytes: Annotated[int, Field(ge=1, le=100_000_000)] = 262_144
    start: Start = "earliest"
    """Where a job without state begins to read."""

    every_record: bool = False
    """See `with_malformed`."""

    delivery: Delivery = "exactly-once"
    transaction_timeout: Positive = timedelta(minutes=15)
    """Must exceed the longest checkpoint plus the longest restart; the broker's transaction.max.timeout.ms caps it."""

    def __init__(self, topic: str | None = None, /, **data: Any) -> None:
        super().__init__(**({"topic": topic} if topic is not None else {}), **data)

    def model_post_init(self, _context: Any, /) -> None:
        """Hold `key` and `event_time` against the record's fields."""
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
        """Its read has one: by its event time, or, with `every_record`, by arrival."""
        return bool(self.event_time) or self.every_record

    def with_malformed(self) -> Kafka:
        """This topic, read record by record as it stands there, malformed and late ones included.

        The read's table then has these columns: `reason` (why it is malformed; null: it isn't), `late`, `value` and
        `key` (bytes), `topic`, `partition`, `offset`, `arrival_time` (the rowtime).
        """
        return Kafka(**{**dict(self), "every_record": True})

    def with_settings(self, values: Mapping[str, Any]) -> Kafka:
        """This topic with a deployment's values over its own, validated.

        Raises:
            pydantic.ValidationError: for an unknown field or a value out of its range.
        """
        return Kafka(**{**dict(self), **values})


DEPLOYABLE_FIELDS: tuple[str, ...] = tuple(
    name
    for name in Kafka.__annotations__
    if name not in ("model_config", "record", "key", "event_time", "every_record")
)
"""The fields of a topic that a deployment file may set."""
