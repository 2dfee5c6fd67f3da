"""A fix is deployed over a release that fails, which writes no savepoint."""

import json
import time

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.operation.run import make_plan
from sluice.operation.topics import create_topics
from sluice.plan.request import DeployRequest
from tests.integration.sources import source
from tests.support.running import deploy, operate
from tests.support.waiting import wait_for

UDF = """
def place(text):
    {body}

@job.pipeline
def build(lines):
    from pyflink.table import DataTypes
    from pyflink.table.expressions import col
    from pyflink.table.udf import udf
    return lines.select(udf(place, result_type=DataTypes.STRING())(col("id")).alias("id"))
"""
FAILS = UDF.format(body='return {"a": "A", "b": "B"}[text]')
FIXED = UDF.format(body="return text.upper()")


def produce(lab, name, ids):
    now = time.time_ns() // 1_000_000
    lines = [Message(b"", json.dumps({"id": id_, "at": now}).encode(), now, 0) for id_ in ids]
    wire.produce(lab.local.kafka_servers, f"{name}_lines", lines)


def written(lab, name, count):
    """The rows, once there are as many."""
    rows = wait_for(lambda: found if len(found := wire.rows(lab.local.kafka_servers, f"{name}_out")) >= count else None)
    return [row["id"] for row in rows]


def failures(lab, flink_job_id):
    with FlinkClient(lab.local.flink_url) as flink:
        return flink.send(calls.exceptions(flink_job_id)).history.entries


def test_a_fix_replaces_a_release_that_fails_on_a_record_and_loses_no_row(lab):
    name = "mended"
    lab.job(name, source(name, FAILS, "id: str | None"))
    create_topics(lab.project, name)
    produce(lab, name, "ab")
    first = deploy(lab.project, name)
    assert sorted(written(lab, name, 2)) == ["A", "B"]
    produce(lab, name, "xab")
    wait_for(lambda: failures(lab, first.flink_job_id))

    lab.job(name, source(name, FIXED, "id: str | None"))
    plan = make_plan(lab.project, name, DeployRequest())
    assert (plan.mode, plan.category, plan.needs_approval) == ("last-state", "stateless", False)
    assert "it has failed since its newest checkpoint" in plan.reasons[0]
    assert plan.reasons[1].startswith("its newest failure: ")
    second = operate(lab.project, name)
    assert second.outcome == "healthy", second.error
    assert f"/{first.flink_job_id}/" in second.restored_from
    assert second.savepoint is None
    assert sorted(written(lab, name, 5)) == ["A", "A", "B", "B", "X"]
