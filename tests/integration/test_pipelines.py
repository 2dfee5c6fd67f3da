"""Every kind of pipeline can be deployed, and writes its rows."""

import json
import time

import pytest

from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.operation.topics import create_topics
from tests.integration import sources
from tests.support.running import deploy
from tests.support.waiting import wait_for


@pytest.mark.parametrize(
    ("name", "body", "fields", "wanted"),
    [
        ("table_api", sources.TABLE_API, "id: str", ["a", "c"]),
        ("sql_text", sources.SQL, "id: str", ["a!", "b!", "c!"]),
        ("python_udf", sources.UDF, "id: str | None", ["A", "B", "C"]),
        ("pandas_udf", sources.PANDAS, "id: str | None", ["A", "B", "C"]),
        ("data_stream", sources.DATA_STREAM, "id: str | None", ["A", "B", "C"]),
    ],
)
def test_each_kind_of_pipeline_can_be_deployed(lab, name, body, fields, wanted):
    lab.job(name, sources.source(name, body, fields))
    create_topics(lab.project, name)
    now = time.time_ns() // 1_000_000
    lines = [Message(b"", json.dumps({"id": id_, "at": now}).encode(), now, 0) for id_ in "abc"]
    wire.produce(lab.local.kafka_servers, f"{name}_lines", lines)
    deploy(lab.project, name)
    # A checkpoint may come between them.
    rows = wait_for(
        lambda: found if len(found := wire.rows(lab.local.kafka_servers, f"{name}_out")) >= len(wanted) else None
    )
    assert sorted(row["id"] for row in rows) == wanted
