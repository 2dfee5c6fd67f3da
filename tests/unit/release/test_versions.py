"""The versions that are tested together are named alike everywhere."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

from sluice import DeadLetter, Kafka, Record, ScalarText
from sluice.client import tables
from sluice.release.versions import FLINK, KAFKA_CONNECTOR, PIPELINE

ROOT = Path(__file__).resolve().parents[3]


def test_maven_pip_and_the_product_agree():
    pom = (ROOT / "pom.xml").read_text()
    assert f"<flink.version>{FLINK}</flink.version>" in pom
    assert f"<kafka.connector.version>{KAFKA_CONNECTOR}</kafka.connector.version>" in pom
    assert f"apache-flink=={FLINK}\n" in (ROOT / "requirements.txt").read_text()


class Row(Record):
    id: str
    properties: dict[str, ScalarText]
    at: int


class Dated(Record):
    at: datetime
    note: str | None


PIPELINES = {1: "6da4ae99c8a1e35f", 2: "68c97660dd890506"}
"""The digest of the generated SQL by PIPELINE."""


def test_other_sql_around_a_pipeline_is_another_version():
    """Running jobs would not be redeployed otherwise: the version is in their fingerprint, the SQL isn't."""
    brokers = {"bootstrap.servers": "b:1"}
    rows = Kafka("rows", record=Row, key=("id",), event_time="at", idle_timeout=timedelta(seconds=5))
    dated = Kafka("dated", record=Dated, event_time="at", idle_timeout=timedelta(seconds=5))
    dead = Kafka("dead", record=DeadLetter)
    reads = [rows, dated, rows.with_malformed(), Kafka("plain", record=Row, idle_timeout=None, start="latest")]
    sinks = [rows, dead, rows.with_settings({"delivery": "at-least-once"})]
    sql = [
        *(tables.source_table("read", topic, brokers, "group") + tables.source_view("read", topic) for topic in reads),
        *(tables.sink_table("sink", topic, brokers, "prefix") for topic in sinks),
        tables.dead_letter_columns(),
    ]
    digest = hashlib.sha256("\n".join(sql).encode()).hexdigest()[:16]
    assert digest == PIPELINES.get(PIPELINE), "the SQL has changed: raise PIPELINE, and enter this digest under it"
