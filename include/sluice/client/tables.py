"""The SQL that declares a job's sources and sinks. Pure text: no PyFlink."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sluice.errors import ConfigError
from sluice.job.duration import milliseconds
from sluice.job.record import columns, row_type, scalar_text_paths
from sluice.job.topic import Kafka

ARRIVAL = "arrival_time"
EVENT_TIME = "event_time"
WATERMARK = "watermark"
"""Columns that a read's table has beside its record's: the Kafka timestamp, the checked event time, and the watermark
that the record carries (arrival - watermark_delay - arrival_skew)."""


def literal(text: str) -> str:
    """A SQL string literal."""
    return "'" + text.replace("'", "''") + "'"


def interval(duration: timedelta) -> str:
    """A SQL interval literal, to the millisecond."""
    total = milliseconds(duration)
    days, rest = divmod(total, 86_400_000)
    hours, rest = divmod(rest, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    seconds, millis = divmod(rest, 1_000)
    return f"INTERVAL '{days} {hours:02}:{minutes:02}:{seconds:02}.{millis:03}' DAY(3) TO SECOND(3)"


def source_name(read: str) -> str:
    """The table behind a read's view."""
    return f"{read}__topic"


def sink_name(sink: str) -> str:
    """The table of a sink."""
    return f"{sink}__sink"


def source_table(read: str, topic: Kafka, brokers: Mapping[str, str], group_id: str) -> str:
    """CREATE TABLE for what a job reads: the record's columns, arrival, checked event time and watermark.

    Records that break the contract never leave the source; those with an absurd event time have none.
    """
    _check_names(topic)
    lines = [f"`{name}` {flink}" for name, flink in columns(topic.record).items()]
    lines.append(f"`{ARRIVAL}` TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL")
    if topic.event_time:
        lines += [
            f"`{EVENT_TIME}` AS {_event_time(topic)}",
            f"WATERMARK FOR `{EVENT_TIME}` AS `{ARRIVAL}` - {interval(topic.watermark_delay + topic.arrival_skew)}",
        ]
    return _create(source_name(read), lines, _source_options(topic, brokers, group_id))


def source_view(read: str, topic: Kafka) -> str:
    """CREATE VIEW under the read's own name: what is on time, and the watermark that each record carries."""
    if not topic.event_time:
        return f"CREATE TEMPORARY VIEW `{read}` AS SELECT * FROM `{source_name(read)}`"  # noqa: S608 - own names
    delay = topic.watermark_delay + topic.arrival_skew
    return (
        f"CREATE TEMPORARY VIEW `{read}` AS "  # noqa: S608 - own names
        f"SELECT *, `{ARRIVAL}` - {interval(delay)} AS `{WATERMARK}` FROM `{source_name(read)}` "
        f"WHERE `{EVENT_TIME}` >= `{ARRIVAL}` - {interval(topic.watermark_delay)}"
    )


def sink_table(sink: str, topic: Kafka, brokers: Mapping[str, str], transactional_prefix: str) -> str:
    """CREATE TABLE for what a job writes."""
    options = {
        "connector": "kafka",
        "topic": topic.topic,
        **{f"properties.{name}": value for name, value in brokers.items()},
        "properties.compression.type": "lz4",
        "format": "json",
        "json.timestamp-format.standard": "ISO-8601",
        "sink.delivery-guarantee": topic.delivery,
    }
    if topic.delivery == "exactly-once":
        options["sink.transactional-id-prefix"] = transactional_prefix
        options["properties.transaction.timeout.ms"] = str(milliseconds(topic.transaction_timeout))
    if topic.key:
        options |= {
            "key.format": "json",
            "key.json.timestamp-format.standard": "ISO-8601",
            "key.fields": ";".join(topic.key),
        }
        options["value.format"] = options.pop("format")
        options["value.json.timestamp-format.standard"] = options.pop("json.timestamp-format.standard")
    return _create(sink_name(sink), [f"`{name}` {flink}" for name, flink in columns(topic.record).items()], options)


def _event_time(topic: Kafka) -> str:
    field = topic.event_time
    annotation = topic.record.model_fields[field or ""].annotation
    at = f"`{field}`" if annotation is datetime else f"TO_TIMESTAMP_LTZ(`{field}`, 3)"
    return (
        f"CASE WHEN {at} <= `{ARRIVAL}` + {interval(topic.future_tolerance)}"
        f" AND {at} >= `{ARRIVAL}` - {interval(topic.past_tolerance)} THEN {at} END"
    )


def _source_options(topic: Kafka, brokers: Mapping[str, str], group_id: str) -> dict[str, str]:
    options = {
        "connector": "kafka",
        "topic": topic.topic,
        "properties.isolation.level": "read_committed",
        **{f"properties.{name}": value for name, value in brokers.items()},
        "properties.group.id": group_id,
        "scan.startup.mode": f"{topic.start}-offset",
        "format": "strict-json",
        "strict-json.schema": row_type(topic.record),
        "strict-json.max-bytes": str(topic.max_bytes),
    }
    if paths := scalar_text_paths(topic.record):
        options["strict-json.any-scalar-as-text"] = ";".join(paths)
    if topic.event_time and topic.idle_timeout:
        options["scan.watermark.idle-timeout"] = f"{milliseconds(topic.idle_timeout)} ms"
    return options


def _check_names(topic: Kafka) -> None:
    taken = [name for name in topic.record.model_fields if name in (ARRIVAL, EVENT_TIME, WATERMARK)]
    if taken:
        raise ConfigError(
            f"topic {topic.topic}: {topic.record.__name__} has a field {taken[0]!r}, "
            "a name that every read's table has of its own",
            remedy="rename the field",
        )


def _create(name: str, lines: list[str], options: Mapping[str, str]) -> str:
    body = ",\n  ".join(lines)
    given = ",\n  ".join(f"{literal(key)} = {literal(value)}" for key, value in options.items())
    return f"CREATE TEMPORARY TABLE `{name}` (\n  {body}\n) WITH (\n  {given}\n)"
