"""The SQL that declares sources and sinks."""

from datetime import datetime, timedelta

import pytest

from sluice import DeadLetter, Kafka, Record, ScalarText, interval
from sluice.client import tables
from sluice.errors import ConfigError

BROKERS = {"bootstrap.servers": "broker:9092"}


class Row(Record):
    id: str
    properties: dict[str, ScalarText]
    at: int


class Dated(Record):
    at: datetime


TOPIC = Kafka("rows", record=Row, key=("id",), event_time="at")


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (timedelta(0), "INTERVAL '0 00:00:00.000' DAY(3) TO SECOND(3)"),
        (timedelta(seconds=11), "INTERVAL '0 00:00:11.000' DAY(3) TO SECOND(3)"),
        (timedelta(days=365, milliseconds=7), "INTERVAL '365 00:00:00.007' DAY(3) TO SECOND(3)"),
        (timedelta(hours=25, minutes=61), "INTERVAL '1 02:01:00.000' DAY(3) TO SECOND(3)"),
    ],
)
def test_sql_interval_is_exact_to_the_millisecond(duration, expected):
    assert interval(duration) == expected


@pytest.mark.parametrize("duration", [timedelta(days=1000), timedelta(seconds=-1)])
def test_duration_beyond_flinks_intervals_is_refused(duration):
    with pytest.raises(ConfigError, match="can't be a SQL interval; choose 0 to 999 days"):
        interval(duration)


def test_watermark_is_arrival_minus_delay_and_skew():
    sql = tables.source_table("rows", TOPIC, BROKERS, "group")
    by_arrival = "`arrival_time` - INTERVAL '0 00:00:11.000' DAY(3) TO SECOND(3)"
    assert f"WATERMARK FOR `event_time` AS {tables.EVENT_TIME_COUNTER}({by_arrival}, " in sql


def test_read_view_drops_late_and_absurd_records():
    sql = tables.source_view("rows", TOPIC)
    late, early = (f"INTERVAL '{text}' DAY(3) TO SECOND(3)" for text in ("0 00:00:10.000", "0 01:00:00.000"))
    assert sql.endswith(f"WHERE `event_time` >= `arrival_time` - {late} AND `event_time` <= `arrival_time` + {early}")


def test_past_tolerance_below_the_delay_decides_lateness():
    topic = TOPIC.model_copy(update={"past_tolerance": timedelta(seconds=4)})
    assert "WHERE `event_time` >= `arrival_time` - INTERVAL '0 00:00:04.000'" in tables.source_view("rows", topic)


def test_source_table_passes_the_record_contract_to_the_format():
    sql = tables.source_table("rows", TOPIC, BROKERS, "group")
    assert "'value.strict-json.schema' = 'ROW<`id` STRING NOT NULL, `properties` MAP<" in sql
    assert "'value.strict-json.any-scalar-as-text' = 'properties.*'" in sql


def test_datetime_event_time_is_not_converted():
    sql = tables.source_table("rows", Kafka("rows", record=Dated, event_time="at"), BROKERS, "group")
    assert "TO_TIMESTAMP_LTZ" not in sql


def test_topic_without_event_time_has_no_watermark():
    topic = Kafka("rows", record=Row)
    assert "WATERMARK" not in tables.source_table("rows", topic, BROKERS, "group")
    assert "WHERE" not in tables.source_view("rows", topic)


def test_exactly_once_sink_has_a_transactional_prefix():
    sql = tables.sink_table("out", TOPIC, BROKERS, "sluice.local.job.out")
    assert "'sink.delivery-guarantee' = 'exactly-once'" in sql
    assert "'sink.transactional-id-prefix' = 'sluice.local.job.out'" in sql
    assert "'properties.transaction.timeout.ms' = '900000'" in sql


def test_at_least_once_sink_has_no_transactions():
    sql = tables.sink_table("out", TOPIC.with_settings({"delivery": "at-least-once"}), BROKERS, "prefix")
    assert "transaction" not in sql


def test_key_fields_are_the_message_key():
    assert "'key.fields' = 'id'" in tables.sink_table("out", TOPIC, BROKERS, "prefix")


def test_quotes_in_option_values_are_escaped():
    sql = tables.sink_table("out", TOPIC, {"sasl.jaas.config": "a 'quoted' b"}, "prefix")
    assert "'a ''quoted'' b'" in sql


def test_record_field_with_a_reserved_column_name_is_refused():
    class Shadow(Record):
        watermark: int

    with pytest.raises(ConfigError, match="has a field 'watermark'"):
        tables.source_table("rows", Kafka("rows", record=Shadow), BROKERS, "group")


def test_every_record_read_has_reason_and_position():
    sql = tables.source_table("rows", TOPIC.with_malformed(), BROKERS, "group")
    assert "'value.strict-json.reason-column' = 'reason'" in sql
    assert "`offset` BIGINT NOT NULL METADATA VIRTUAL" in sql
    assert "WATERMARK FOR `arrival_time`" in sql
    view = tables.source_view("rows", TOPIC.with_malformed())
    assert "WHERE" not in view
    assert "'absurd event time: '" in view


def test_dead_letters_have_original_bytes_and_headers():
    sql = tables.sink_table("dead", Kafka("dead", record=DeadLetter), BROKERS, "prefix")
    assert "`headers` MAP<STRING, BYTES> METADATA" in sql
    assert "'value.format' = 'raw'" in sql
    assert "ENCODE(`reason`, 'UTF-8')" in tables.dead_letter_columns()
