"""A lost job is started from its newest checkpoint; a running one is not started again."""

import json
import time

import pytest

from sluice.errors import RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import JobState
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.operation.topics import create_topics
from sluice.ports import Ports
from sluice.project import Project
from sluice.release.compiler import Compiler
from tests.integration import sources
from tests.support.running import deploy
from tests.support.waiting import wait_for

COUNT = '''
@job.pipeline
def build(t_env):
    return t_env.sql_query("""
        SELECT window_start, COUNT(*) AS lines
        FROM TABLE(TUMBLE(TABLE lines, DESCRIPTOR(event_time), INTERVAL '1' HOUR))
        GROUP BY window_start, window_end
    """)
'''
FIELDS = "window_start: datetime\n    lines: int"
HOUR = 3_600_000


def produce(lab, name, *ats):
    lines = [Message(b"", json.dumps({"id": "x", "at": at}).encode(), at, 0) for at in ats]
    wire.produce(lab.local.kafka_servers, f"{name}_lines", lines)


def state(lab, job_id):
    with FlinkClient(lab.local.flink_url) as flink:
        return flink.send(calls.status(job_id)).status


def cancel(lab, job_id):
    with FlinkClient(lab.local.flink_url) as flink:
        flink.send(calls.cancel(job_id))
    wait_for(lambda: state(lab, job_id) is JobState.CANCELED)


def test_lost_job_continues_from_its_newest_checkpoint(lab):
    lab.job("lost", sources.source("lost", COUNT, FIELDS))
    base = (int(time.time()) - 86_400) // 3600 * HOUR
    create_topics(lab.project, "lost")
    produce(lab, "lost", base + 1, base + 2, base + 3)
    first = deploy(lab.project, "lost")
    cancel(lab, first.flink_job_id)

    second = deploy(lab.project, "lost")
    assert second.restored_from is not None
    assert first.flink_job_id in second.restored_from
    assert second.flink_job_id != first.flink_job_id
    produce(lab, "lost", base + 4, base + 2 * HOUR)
    rows = wait_for(lambda: wire.rows(lab.local.kafka_servers, "lost_out"))
    # Three from before, one from after: the state was kept, nothing was read twice.
    assert [row["lines"] for row in rows] == [4]

    third = deploy(lab.project, "lost")
    assert third.outcome == "unchanged"
    assert third.flink_job_id == second.flink_job_id


def test_lost_job_whose_checkpoints_were_deleted_is_not_started(lab):
    lab.job("bare", sources.source("bare", COUNT, FIELDS))
    first = deploy(lab.project, "bare")
    cancel(lab, first.flink_job_id)
    for metadata in (lab.local.home / "flink" / "checkpoints" / first.flink_job_id).glob("chk-*/_metadata"):
        metadata.unlink()
    with pytest.raises(
        RefusedError, match=f"Flink job {first.flink_job_id} had state, and no checkpoint of it is found"
    ):
        deploy(lab.project, "bare")


def test_retry_after_a_lost_response_adopts_the_submitted_job(lab):
    lab.job("retried", sources.source("retried", sources.SQL))

    class InterruptedCompiler(Compiler):
        def submit(self, order):
            super().submit(order)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deploy(Project(lab.project.settings, ports=Ports(compiler=InterruptedCompiler)), "retried")
    journalled = lab.project.ledger.placement("retried").flink_job_id

    again = deploy(lab.project, "retried")
    assert again.flink_job_id == journalled
    with FlinkClient(lab.local.flink_url) as flink:
        assert [job.id for job in flink.send(calls.jobs()).jobs if job.name == "retried"] == [journalled]


def test_retry_before_the_submission_uses_the_recorded_flink_job_id(lab):
    lab.job("early", sources.source("early", sources.SQL))

    class InterruptedCompiler(Compiler):
        def submit(self, _order):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        deploy(Project(lab.project.settings, ports=Ports(compiler=InterruptedCompiler)), "early")
    journalled = lab.project.ledger.placement("early").flink_job_id
    assert deploy(lab.project, "early").flink_job_id == journalled
