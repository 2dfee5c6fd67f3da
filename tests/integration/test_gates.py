"""Gates of a deploy on real jobs: a topic without event time under steady input, and one that no source reads."""

import threading
import time

from sluice.fleet.members import read_members
from sluice.fleet.status import fleet_status, observe_members
from sluice.fleet.sweep import SweepBudget
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.operation.topics import create_topics
from tests.integration import sources
from tests.support.running import deploy, operate
from tests.support.waiting import wait_for

TIMELESS = sources.HEAD.replace(', event_time="at"', "") + sources.SQL
ELSEWHERE = (
    sources.HEAD
    + '''
@job.pipeline
def build(t_env):
    t_env.execute_sql("""
        CREATE TEMPORARY TABLE made (n BIGINT NOT NULL) WITH ('connector' = 'datagen', 'rows-per-second' = '5')
    """)
    return t_env.sql_query("SELECT CAST(n AS STRING) AS id FROM made")
'''
)


def test_first_sweep_after_a_pause_reads_fresh_positions(lab):
    lab.job("paused", TIMELESS.format(name="paused", fields="id: str"))
    create_topics(lab.project, "paused")
    deploy(lab.project, "paused")
    records = [Message(b"", b'{"id": "x", "at": 1}', time.time_ns() // 1_000_000, 0)] * 2_000
    wire.produce(lab.local.kafka_servers, "paused_lines", records)
    brokers, group = lab.project.brokers, lab.project.group("paused")
    ends = brokers.stable_ends(["paused_lines"])
    # Without a request for metrics, which would let the cluster fetch them.
    wait_for(lambda: brokers.committed(group, ends) == ends)
    members = read_members(lab.project, ["paused"], {})
    [found] = observe_members(lab.project, members, is_whole=False, budget=SweepBudget(metrics_fetch_s=5))
    # At the positions of the deploy, the two thousand records would wait.
    assert found.status.consumer_lag == 0


def test_job_without_event_time_is_deployed_while_records_arrive(lab):
    lab.job("busy", TIMELESS.format(name="busy", fields="id: str"))
    create_topics(lab.project, "busy")
    over = threading.Event()

    def messages():
        while not over.wait(0.02):
            yield Message(b"", b'{"id": "x", "at": 1}', time.time_ns() // 1_000_000, 0)

    feeder = threading.Thread(target=wire.produce, args=(lab.local.kafka_servers, "busy_lines", messages()))
    feeder.start()
    try:
        assert deploy(lab.project, "busy").outcome == "healthy"
        (row,) = fleet_status(lab.project, ["busy"])
    finally:
        over.set()
        feeder.join()
    assert (row.state, row.watermark_lag_ms) == ("RUNNING", None)
    assert not any("watermark" in words for words in row.reasons)


def test_topic_without_a_source_in_the_job_is_reported_before_the_deadline(lab, capsys):
    lab.deployment("jobs: {elsewhere: {health: {start_timeout: 20s}}}\n")
    lab.job("elsewhere", ELSEWHERE.format(name="elsewhere", fields="id: str"))
    result = operate(lab.project, "elsewhere")
    assert result.error
    words = "no Kafka source of the job reads elsewhere_lines"
    told = [line for line in capsys.readouterr().out.splitlines() if words in line]
    assert told
    assert "at the deadline" not in told[0]


def test_gate_does_not_wait_for_the_checkpoint_interval(lab):
    lab.deployment("jobs: {rare: {flink: {execution.checkpointing.interval: 1 h}}}\n")
    lab.job("rare", TIMELESS.format(name="rare", fields="id: str"))
    create_topics(lab.project, "rare")
    wire.produce(
        lab.local.kafka_servers, "rare_lines", [Message(b"", b'{"id": "x", "at": 1}', time.time_ns() // 1_000_000, 0)]
    )
    # Flink makes checkpoints when the job starts; the next one of its own would come after `start_timeout`.
    assert deploy(lab.project, "rare").outcome == "healthy"
