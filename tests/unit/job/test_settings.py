"""Durations, topics, a job's settings, and the imports of the SDK."""

import subprocess
import sys
from datetime import timedelta

import pytest
from pydantic import TypeAdapter, ValidationError

import sluice
from sluice import Duration, JobConfig, Kafka, Record
from sluice.errors import ConfigError


class Row(Record):
    id: str
    at: int


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("10s", timedelta(seconds=10)),
        ("500 ms", timedelta(milliseconds=500)),
        ("5 min", timedelta(minutes=5)),
        ("5m", timedelta(minutes=5)),
        ("2h", timedelta(hours=2)),
        ("7d", timedelta(days=7)),
        ("PT10S", timedelta(seconds=10)),
        (timedelta(seconds=3), timedelta(seconds=3)),
    ],
)
def test_durations_are_parsed_with_units(text, expected):
    assert TypeAdapter(Duration).validate_python(text) == expected


@pytest.mark.parametrize("value", [10, 1.5, "10", "ten seconds", "10 parsecs", True, False])
def test_duration_needs_a_unit(value):
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(Duration).validate_python(value, strict=False)
    assert refused.value.error_count() == 1


def test_deployment_values_replace_the_topics_own():
    topic = Kafka("rows", record=Row, partitions=3).with_settings({"topic": "other", "watermark_delay": "5s"})
    assert (topic.topic, topic.partitions, topic.watermark_delay) == ("other", 3, timedelta(seconds=5))


@pytest.mark.parametrize(
    "values",
    [
        {"partitions": 0},
        {"partitons": 3},
        {"delivery": "maybe"},
        {"watermark_delay": "-1s"},
        {"watermark_delay": "1000d"},
        {"idle_timeout": "2000d"},
        {"topic": "no spaces"},
    ],
)
def test_topic_refuses_unknown_fields_and_values_out_of_range(values):
    with pytest.raises(ValidationError):
        Kafka("rows", record=Row).with_settings(values)


@pytest.mark.parametrize("given", [{"key": ("ip",)}, {"event_time": "ip"}])
def test_key_and_event_time_must_be_record_fields(given):
    with pytest.raises(ConfigError, match='"ip" is not a field of Row; name one of id, at'):
        Kafka("rows", record=Row, **given)


def test_job_settings_are_frozen_and_refuse_unknown_fields():
    class Config(JobConfig):
        window: Duration = timedelta(seconds=60)

    with pytest.raises(ValidationError):
        Config(windw="1s")
    with pytest.raises(ValidationError):
        Config().window = timedelta(seconds=1)


def test_public_names_of_the_sdk():
    assert sorted(sluice.__all__) == [
        "ChangesState",
        "DeadLetter",
        "Duration",
        "FlinkType",
        "Health",
        "Job",
        "JobConfig",
        "Kafka",
        "Record",
        "Replay",
        "ScalarText",
        "interval",
        "literal",
    ]


def test_importing_the_sdk_loads_neither_pyflink_nor_airflow():
    code = (
        "import sys, sluice; "
        "print([m for m in ('pyflink', 'py4j', 'airflow', 'sqlalchemy', 'confluent_kafka') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
