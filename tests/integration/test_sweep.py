"""The sweep on a real cluster with releases that fail after their gates."""

import json
import time

from sluice.fleet.needs import find_needs
from sluice.fleet.status import sweep_and_record
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.operation.run import run_operation
from sluice.plan.request import DeployRequest
from tests.support.running import deploy
from tests.support.waiting import wait_for
from tests.support.windowed import alive, base, close_windows, produce, source, start_with_state

JOB = "spoils"
FAILS_ON_BAD = "AND 1 / (CHAR_LENGTH(id) - CHAR_LENGTH('bad')) < 9"
OPTIONS = f"""
jobs:
  {JOB}:
    health: {{restarts: 1}}
    flink: {{restart-strategy.type: fixed-delay, restart-strategy.fixed-delay.attempts: 1000,
             restart-strategy.fixed-delay.delay: 200 ms}}
"""


def run(lab, name, job=JOB):
    """A sweep as of redeploy_and_verify: the job's row, and what it needs."""
    project = lab.project
    [row] = [found.status for found in sweep_and_record(project, name) if found.status.job == job]
    [needed] = find_needs(project, [row], print)
    return row, needed


def test_new_release_that_fails_by_its_own_code_is_rolled_back_with_its_state(lab):
    lab.deployment(OPTIONS)
    first = start_with_state(lab, JOB)
    lab.job(JOB, source(JOB, where=FAILS_ON_BAD))
    second = deploy(lab.project, JOB)
    assert (first.release, second.release) == (1, 2)
    row, needed = run(lab, "before")
    assert (row.verdict, row.own_fault, needed.decision.need) == ("idle", False, "nothing")

    produce(lab, JOB, ("bad", base() + 4))
    numbers = iter(range(100))
    row, needed = wait_for(lambda: next((seen for seen in [run(lab, f"r{next(numbers)}")] if seen[0].own_fault), None))
    assert row.verdict == "failed"
    assert needed.decision.why.startswith("failed for the first time in this sweep")
    _, needed = run(lab, "again")
    assert needed.decision.need == "roll_back", needed.words
    assert needed.request == DeployRequest(kind="rollback", mode="last-state", expected_release=2)

    result = run_operation(lab.project, JOB, needed.request, "test", print)
    assert (result.outcome, result.release) == ("healthy", 1)
    assert alive(lab, JOB) == [result.flink_job_id]
    assert close_windows(lab, JOB) == [3]
    # What went bad is what is desired, and is not deployed again by itself.
    row, needed = run(lab, "after")
    assert (row.release, row.drift, needed.decision.need) == (1, True, "nothing")
    assert "which was rolled back: to release 1" in needed.decision.why


STANDS = """
from datetime import datetime
from sluice import Health, Job, Kafka, Record

class Line(Record):
    id: str
    at: int

class Out(Record):
    id: str

job = Job(
    name="stands",
    reads={"lines": Kafka("stands_lines", record=Line, event_time="at", idle_timeout="5s", partitions=1)},
    writes=Kafka("stands_out", record=Out),
    health=Health(stall="5s", start_timeout="25s", watermark_lag="1h"),
)

def loud(text):
    BLOCKS
    return text.upper()

@job.pipeline
def build(lines):
    from pyflink.table import DataTypes
    from pyflink.table.expressions import col
    from pyflink.table.udf import udf
    return lines.select(udf(loud, result_type=DataTypes.STRING().not_null())(col("id")).alias("id"))
"""
BLOCKS = """if text == "bad":
        import time
        time.sleep(3_600)"""


def lines(lab, *ids):
    at = time.time_ns() // 1_000_000
    messages = [Message(b"", json.dumps({"id": id_, "at": at}).encode(), at, 0) for id_ in ids]
    wire.produce(lab.local.kafka_servers, "stands_lines", messages)


def test_stalled_new_release_is_rolled_back_and_waiting_records_are_read_once(lab):
    lab.deployment("")
    lab.job("stands", STANDS.replace("BLOCKS", "pass"))
    first = deploy(lab.project, "stands")
    lab.job("stands", STANDS.replace("BLOCKS", BLOCKS))
    second = deploy(lab.project, "stands")
    assert (first.release, second.release) == (1, 2)
    lines(lab, "a")
    wait_for(lambda: wire.rows(lab.local.kafka_servers, "stands_out"))
    lines(lab, "bad")
    # What is on its way through already is not waiting.
    time.sleep(3)
    lines(lab, "b", "c")
    numbers = iter(range(1_000))

    def look_again():
        # Over less time nothing is said of what a task spends it with.
        time.sleep(6)
        row, needed = run(lab, f"s{next(numbers)}", "stands")
        print(row.verdict, row.reasons, needed.words)
        return (row, needed) if row.own_fault else None

    row, needed = wait_for(look_again)
    assert (row.state, row.verdict, row.recent_restarts) == ("RUNNING", "failed", 0)
    if needed.decision.need == "nothing":
        assert needed.decision.why.startswith("failed for the first time in this sweep")
        row, needed = wait_for(look_again)
    assert needed.decision.need == "roll_back", needed.words
    assert "partition stands_lines-0 not consumed since" in needed.decision.why
    assert needed.request == DeployRequest(kind="rollback", mode="last-state", expected_release=2)
    result = run_operation(lab.project, "stands", needed.request, "test", print)
    assert (result.outcome, result.release) == ("healthy", 1)
    assert alive(lab, "stands") == [result.flink_job_id]
    found = wait_for(lambda: rows if len(rows := wire.rows(lab.local.kafka_servers, "stands_out")) >= 4 else None)
    assert sorted(each["id"] for each in found) == ["A", "B", "BAD", "C"]
