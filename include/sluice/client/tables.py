"""The SQL that declares a job's sources and sinks, as text. Imports no PyFlink."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sluice.client.protocol import Part
from sluice.errors import ConfigError
from sluice.job.dead_letter import DeadLetter
from sluice.job.duration import milliseconds
from sluice.job.record import columns, row_type, scalar_text_paths
from sluice.job.sql import interval, literal
from sluice.job.topic import Kafka

ARRIVAL = "arrival_time"
EVENT_TIME = "event_time"
WATERMARK = "watermark"
"""Columns of a read's table in addition to its record's: the Kafka timestamp, the event time, and the watermark that
the record causes (arrival - watermark_delay - arrival_skew)."""

EVENT_TIME_COUNTER = "sluice_count_event_time"
"""The function in a read's watermark expression that counts the records which the read's view drops."""


def functions() -> tuple[str, ...]:
    """The statements that declare functions; execute them before the other statements."""
    counter = "sluice.json.EventTimeCounter"
    return (f"CREATE TEMPORARY SYSTEM FUNCTION IF NOT EXISTS {EVENT_TIME_COUNTER} AS {literal(counter)} LANGUAGE JAVA",)


def source_name(read: str) -> str:
    """The name of the table on which a read's view is defined."""
    return f"{read}__topic"


def sink_name(sink: str) -> str:
    """The name of a sink's table."""
    return f"{sink}__sink"


def source_table(
    read: str,
    topic: Kafka,
    brokers: Mapping[str, str],
    group_id: str,
    *,
    carry_over: bool = False,
    offsets: Mapping[int, tuple[int, int]] | None = None,
) -> str:
    """CREATE TABLE for a read: the record's columns, arrival, event time and watermark.

    The source drops malformed records; the view on the table drops late records and those with an absurd event time. A
    read with `every_record` has the bytes, position and reason of each record instead of its columns, a watermark on
    the arrival, and a null event time where that is absurd.

    A job without state begins at the declared start of the topic; with `carry_over` at the committed offsets of the
    consumer group. With `offsets` the read is bounded: per partition the first offset, and the end offset (exclusive).
    """
    arrival = f"`{ARRIVAL}` TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL"
    if topic.every_record:
        event_time = [f"`{EVENT_TIME}` AS {_checked_event_time(topic)}"] if topic.event_time else []
        _check_names(topic, {topic.event_time}, (*_EVERY_RECORD, ARRIVAL, EVENT_TIME))
        field = [f"`{topic.event_time}` {_nullable(topic)}"] if topic.event_time else []
        position = [
            f"`{name}` {flink} NOT NULL METADATA VIRTUAL"
            for name, flink in (("topic", "STRING"), ("partition", "INT"), ("offset", "BIGINT"))
        ]
        watermark = f"WATERMARK FOR `{ARRIVAL}` AS `{ARRIVAL}` - {interval(topic.arrival_skew)}"
        lines = ["`reason` STRING", "`value` BYTES", *field, "`key` BYTES", *position, arrival, *event_time, watermark]
    else:
        lines = _record_columns(topic, arrival, is_counted=True)
    options = _source_options(topic, brokers, group_id)
    if carry_over:
        options |= {"scan.startup.mode": "group-offsets", "properties.auto.offset.reset": topic.start}
    if offsets is not None:
        options |= _bounds(offsets)
        # All records exist already, so that a partition without progress is slow, not idle.
        options.pop("scan.watermark.idle-timeout", None)
    return _create(source_name(read), lines, options)


def rows_of(part: Part) -> str:
    """The SQL condition for the rows of a part: they begin in the part, and end in the whole range."""
    begins, ends = (f"`{name}`" for name in (part.begins, part.ends))
    return (
        f"{begins} >= TO_TIMESTAMP_LTZ({part.since_ms}, 3) AND {begins} < TO_TIMESTAMP_LTZ({part.before_ms}, 3)"
        f" AND {ends} <= TO_TIMESTAMP_LTZ({part.until_ms}, 3)"
    )


def _bounds(offsets: Mapping[int, tuple[int, int]]) -> dict[str, str]:
    """Options of a source that reads each partition between two offsets, and commits no offsets."""
    given = sorted(offsets.items())
    return {
        "scan.startup.mode": "specific-offsets",
        "scan.startup.specific-offsets": ";".join(f"partition:{number},offset:{at}" for number, (at, _) in given),
        "scan.bounded.mode": "specific-offsets",
        "scan.bounded.specific-offsets": ";".join(f"partition:{number},offset:{at}" for number, (_, at) in given),
        "properties.auto.offset.reset": "none",
        "properties.commit.offsets.on.checkpoint": "false",
    }


def bounded_table(read: str, topic: Kafka, uri: str) -> str:
    """CREATE TABLE for a file of JSON rows in place of the topic: as `source_table`, with the arrival as a field.

    Raises:
        ConfigError: a read with `every_record`, which needs Kafka records.
    """
    if topic.every_record:
        raise ConfigError(
            f"reads.{read}: a read with_malformed() can't be tested with rows", remedy="test the job with a real topic"
        )
    options = {
        "connector": "filesystem",
        "path": uri,
        "format": "json",
        "json.fail-on-missing-field": "false",
        "json.timestamp-format.standard": "ISO-8601",
    }
    lines = _record_columns(topic, f"`{ARRIVAL}` TIMESTAMP_LTZ(3) NOT NULL")
    return _create(source_name(read), lines, options)


def _record_columns(topic: Kafka, arrival: str, *, is_counted: bool = False) -> list[str]:
    """The columns of a read: the record's, arrival, event time and watermark.

    With `is_counted` the source counts the records that the view drops; this needs `functions()`.
    """
    _check_names(topic, set(topic.record.model_fields), (ARRIVAL, EVENT_TIME, WATERMARK))
    lines = [*(f"`{name}` {flink}" for name, flink in columns(topic.record).items()), arrival]
    if topic.event_time:
        # The watermark depends on the arrival only, so that an absurd event time can't advance it.
        watermark = f"`{ARRIVAL}` - {interval(topic.watermark_delay + topic.arrival_skew)}"
        if is_counted:
            past, future = milliseconds(_earliest(topic)), milliseconds(topic.future_tolerance)
            watermark = f"{EVENT_TIME_COUNTER}({watermark}, `{EVENT_TIME}`, `{ARRIVAL}`, {past}, {future})"
        lines += [f"`{EVENT_TIME}` AS {_event_time(topic)}", f"WATERMARK FOR `{EVENT_TIME}` AS {watermark}"]
    return lines


def source_view(read: str, topic: Kafka) -> str:
    """CREATE VIEW with the read's name: the records that are on time, with the watermark that each causes.

    With `every_record`: all records, with the reason if malformed, and whether they are late.
    """
    table = source_name(read)
    if topic.every_record:
        late, reason = "FALSE", "`reason`"
        if field := topic.event_time:
            late = f"`{EVENT_TIME}` < `{ARRIVAL}` - {interval(topic.watermark_delay)}"
            absurd = f"'absurd event time: ' || COALESCE(CAST(`{field}` AS STRING), 'null')"
            reason = f"CASE WHEN `reason` IS NULL AND `{EVENT_TIME}` IS NULL THEN {absurd} ELSE `reason` END"
        return (
            f"CREATE TEMPORARY VIEW `{read}` AS SELECT {reason} AS `reason`, "  # noqa: S608 - own names
            f"COALESCE({late}, FALSE) AS `late`, "
            f"`value`, `key`, `topic`, `partition`, `offset`, `{ARRIVAL}` FROM `{table}`"
        )
    if not topic.event_time:
        return f"CREATE TEMPORARY VIEW `{read}` AS SELECT * FROM `{table}`"  # noqa: S608 - own names
    delay = topic.watermark_delay + topic.arrival_skew
    # Evaluated for every record, so the condition has few terms.
    earliest = interval(_earliest(topic))
    return (
        f"CREATE TEMPORARY VIEW `{read}` AS "  # noqa: S608 - own names
        f"SELECT *, `{ARRIVAL}` - {interval(delay)} AS `{WATERMARK}` FROM `{table}` "
        f"WHERE `{EVENT_TIME}` >= `{ARRIVAL}` - {earliest}"
        f" AND `{EVENT_TIME}` <= `{ARRIVAL}` + {interval(topic.future_tolerance)}"
    )


def sink_table(sink: str, topic: Kafka, brokers: Mapping[str, str], transactional_prefix: str) -> str:
    """CREATE TABLE for a sink."""
    options = {
        "connector": "kafka",
        "topic": topic.topic,
        **{f"properties.{name}": value for name, value in brokers.items()},
        "properties.compression.type": "lz4",
        "sink.delivery-guarantee": topic.delivery,
    }
    if topic.delivery == "exactly-once":
        options["sink.transactional-id-prefix"] = transactional_prefix
        options["properties.transaction.timeout.ms"] = str(milliseconds(topic.transaction_timeout))
    if is_dead_letters(topic):
        return _create(sink_name(sink), _DEAD_LETTER_COLUMNS, {**options, **_DEAD_LETTER_OPTIONS})
    if topic.key:
        options |= {
            "key.format": "json",
            "key.json.timestamp-format.standard": "ISO-8601",
            "key.fields": ";".join(topic.key),
        }
    options |= {"value.format": "json", "value.json.timestamp-format.standard": "ISO-8601"}
    return _create(sink_name(sink), [f"`{name}` {flink}" for name, flink in columns(topic.record).items()], options)


def is_dead_letters(topic: Kafka) -> bool:
    """Whether the topic has dead letters: original bytes as value and key, the other fields in headers."""
    return issubclass(topic.record, DeadLetter)


def dead_letter_columns() -> str:
    """The select list that converts a table of `DeadLetter`s to the sink's columns."""
    headers = {
        "reason": "`reason`",
        "topic": "`topic`",
        "partition": "CAST(`partition` AS STRING)",
        "offset": "CAST(`offset` AS STRING)",
        ARRIVAL: f"DATE_FORMAT(`{ARRIVAL}`, {literal(_ISO_UTC)})",
    }
    entries = ", ".join(f"{literal(name)}, ENCODE({value}, 'UTF-8')" for name, value in headers.items())
    return f"`value`, `key`, MAP[{entries}]"


_ISO_UTC = "yyyy-MM-dd'T'HH:mm:ss.SSS'Z'"
_EVERY_RECORD = ("reason", "late", "value", "key", "topic", "partition", "offset")
_DEAD_LETTER_COLUMNS = ["`value` BYTES", "`key` BYTES", "`headers` MAP<STRING, BYTES> METADATA"]
_DEAD_LETTER_OPTIONS = {
    "key.format": "raw",
    "key.fields": "key",
    "value.format": "raw",
    "value.fields-include": "EXCEPT_KEY",
    # Records above the contract's max_bytes must fit, too: above the broker's default message size.
    "properties.max.request.size": "67108864",
}


def _nullable(topic: Kafka) -> str:
    return columns(topic.record)[topic.event_time or ""].removesuffix(" NOT NULL")


def _earliest(topic: Kafka) -> timedelta:
    """How long before its arrival a record's event time may be without the record being dropped."""
    return min(topic.watermark_delay, topic.past_tolerance)


def _event_time(topic: Kafka) -> str:
    field = topic.event_time
    annotation = topic.record.model_fields[field or ""].annotation
    return f"`{field}`" if annotation is datetime else f"TO_TIMESTAMP_LTZ(`{field}`, 3)"


def _checked_event_time(topic: Kafka) -> str:
    at = _event_time(topic)
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
        "value.format": "strict-json",
        "value.strict-json.schema": row_type(topic.record),
        "value.strict-json.max-bytes": str(topic.max_bytes),
    }
    if paths := scalar_text_paths(topic.record):
        options["value.strict-json.any-scalar-as-text"] = ";".join(paths)
    if topic.every_record:
        options |= {
            "value.strict-json.reason-column": "reason",
            "value.strict-json.value-column": "value",
            "value.fields-include": "EXCEPT_KEY",
            "key.format": "raw",
            "key.fields": "key",
        }
    if (topic.event_time or topic.every_record) and topic.idle_timeout:
        options["scan.watermark.idle-timeout"] = f"{milliseconds(topic.idle_timeout)} ms"
    return options


def _check_names(topic: Kafka, used: set[str | None], reserved: tuple[str, ...]) -> None:
    taken = [name for name in reserved if name in used]
    if taken:
        raise ConfigError(
            f"topic {topic.topic}: {topic.record.__name__} has a field {taken[0]!r}, "
            "a name that every read's table reserves",
            remedy="rename the field",
        )


def _create(name: str, lines: list[str], options: Mapping[str, str]) -> str:
    body = ",\n  ".join(lines)
    given = ",\n  ".join(f"{literal(key)} = {literal(value)}" for key, value in options.items())
    return f"CREATE TEMPORARY TABLE `{name}` (\n  {body}\n) WITH (\n  {given}\n)"
