"""The SQL that declares a job's sources and sinks. Pure text: no PyFlink."""

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
"""Columns that a read's table has beside its record's: the Kafka timestamp, the checked event time, and the watermark
that the record carries (arrival - watermark_delay - arrival_skew)."""

EVENT_TIME_COUNTER = "sluice_count_event_time"
"""The function in a read's watermark that counts the records which the read's view drops for their event time."""


def functions() -> tuple[str, ...]:
    """The statements that declare what the other statements call; to be executed first."""
    counter = "sluice.json.EventTimeCounter"
    return (f"CREATE TEMPORARY SYSTEM FUNCTION IF NOT EXISTS {EVENT_TIME_COUNTER} AS {literal(counter)} LANGUAGE JAVA",)


def source_name(read: str) -> str:
    """The table behind a read's view."""
    return f"{read}__topic"


def sink_name(sink: str) -> str:
    """The table of a sink."""
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
    """CREATE TABLE for what a job reads: the record's columns, arrival, checked event time and watermark.

    Records that break the contract never leave the source; the view over the table leaves out those that are late or
    absurd. A read with `every_record` has the record's bytes, position and reason instead of its columns, its watermark
    on arrival, and no event time where that is absurd.

    Without state the read begins where the topic is declared to; with `carry_over` where the consumer group stands;
    with `offsets` it is bounded: per partition the first offset, and the one before which it ends.
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
        # A partition that is read slowly is not idle: what follows is there already.
        options.pop("scan.watermark.idle-timeout", None)
    return _create(source_name(read), lines, options)


def rows_of(part: Part) -> str:
    """The condition that a row lies in a part of the history: it begins in it, and ends in the whole range."""
    begins, ends = (f"`{name}`" for name in (part.begins, part.ends))
    return (
        f"{begins} >= TO_TIMESTAMP_LTZ({part.since_ms}, 3) AND {begins} < TO_TIMESTAMP_LTZ({part.before_ms}, 3)"
        f" AND {ends} <= TO_TIMESTAMP_LTZ({part.until_ms}, 3)"
    )


def _bounds(offsets: Mapping[int, tuple[int, int]]) -> dict[str, str]:
    """Options of a source that reads each partition between two offsets, and leaves no trace in the group."""
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
    """CREATE TABLE for a file of JSON rows that stands for the topic: as `source_table`, with the arrival as a field.

    Raises:
        ConfigError: for a read with `every_record`: a file has no Kafka records.
    """
    if topic.every_record:
        raise ConfigError(
            f"reads.{read}: a read with_malformed() can't be tested on rows", remedy="test the job on a real topic"
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

    With `is_counted` the source counts the records that the view drops; that needs `functions()`.
    """
    _check_names(topic, set(topic.record.model_fields), (ARRIVAL, EVENT_TIME, WATERMARK))
    lines = [*(f"`{name}` {flink}" for name, flink in columns(topic.record).items()), arrival]
    if topic.event_time:
        # On arrival alone: an absurd event time moves no watermark.
        watermark = f"`{ARRIVAL}` - {interval(topic.watermark_delay + topic.arrival_skew)}"
        if is_counted:
            past, future = milliseconds(_earliest(topic)), milliseconds(topic.future_tolerance)
            watermark = f"{EVENT_TIME_COUNTER}({watermark}, `{EVENT_TIME}`, `{ARRIVAL}`, {past}, {future})"
        lines += [f"`{EVENT_TIME}` AS {_event_time(topic)}", f"WATERMARK FOR `{EVENT_TIME}` AS {watermark}"]
    return lines


def source_view(read: str, topic: Kafka) -> str:
    """CREATE VIEW under the read's own name: what is on time, and the watermark that each record carries.

    With `every_record`: every record, with the reason for which it is malformed, and whether it is late.
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
    # Evaluated for every record: few terms, each once.
    earliest = interval(_earliest(topic))
    return (
        f"CREATE TEMPORARY VIEW `{read}` AS "  # noqa: S608 - own names
        f"SELECT *, `{ARRIVAL}` - {interval(delay)} AS `{WATERMARK}` FROM `{table}` "
        f"WHERE `{EVENT_TIME}` >= `{ARRIVAL}` - {earliest}"
        f" AND `{EVENT_TIME}` <= `{ARRIVAL}` + {interval(topic.future_tolerance)}"
    )


def sink_table(sink: str, topic: Kafka, brokers: Mapping[str, str], transactional_prefix: str) -> str:
    """CREATE TABLE for what a job writes."""
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
    """The topic holds original bytes, with the rest of the record in headers."""
    return issubclass(topic.record, DeadLetter)


def dead_letter_columns() -> str:
    """What to select from a table of `DeadLetter`s for the sink's columns."""
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
    # What is too long for the contract must still fit here: more than the broker takes unless told otherwise.
    "properties.max.request.size": "67108864",
}


def _nullable(topic: Kafka) -> str:
    return columns(topic.record)[topic.event_time or ""].removesuffix(" NOT NULL")


def _earliest(topic: Kafka) -> timedelta:
    """How far before its arrival a record's event time may lie for the read to take it."""
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
            "a name that every read's table has of its own",
            remedy="rename the field",
        )


def _create(name: str, lines: list[str], options: Mapping[str, str]) -> str:
    body = ",\n  ".join(lines)
    given = ",\n  ".join(f"{literal(key)} = {literal(value)}" for key, value in options.items())
    return f"CREATE TEMPORARY TABLE `{name}` (\n  {body}\n) WITH (\n  {given}\n)"
