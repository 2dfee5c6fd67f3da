"""The versions that are tested together are equal in all files."""

import hashlib
from datetime import datetime, timedelta
from pathlib import Path

from sluice import DeadLetter, Kafka, Record, ScalarText
from sluice.client import tables
from sluice.release.versions import FLINK, KAFKA_CONNECTOR, PIPELINE

ROOT = Path(__file__).resolve().parents[3]


def test_versions_in_pom_requirements_and_product_agree():
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


def test_changed_generated_sql_needs_a_new_pipeline_version():
    """The fingerprint contains the version and not the SQL, so that a change of the SQL needs a new version."""
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
