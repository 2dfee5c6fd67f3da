"""The verdicts on faulty jobs, and how soon they appear: all jobs run on one cluster.

The figure of each scenario, from the cause to the verdict, is in the test's properties (`--junit-xml`) and its output.
"""

import json
import os
import shutil
import signal
import threading
import time
import uuid
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager

import pytest
from confluent_kafka import Producer

from sluice.client.protocol import Submit
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import JobState
from sluice.local.layout import Local
from sluice.local.supervise import Supervisor
from sluice.local.traffic.wire import producer
from sluice.operation.topics import create_topics
from sluice.plan.target import desired_target
from sluice.release.compiler import Compiler
from tests.support.lab import Lab
from tests.support.running import deploy
from tests.support.waiting import wait_for
from tests.support.watching import Watch

JOB = """
from sluice import Health, Job, Kafka, Record

class Line(Record):
    id: str
    at: int

class Out(Record):
    id: str

job = Job(
    name="{name}",
    reads={{"lines": Kafka("{name}_lines", record=Line, event_time="at", idle_timeout="5s", partitions=2)}},
    writes=Kafka("{name}_out", record=Out),
    health=Health(consumer_lag=1000, watermark_lag="30s", checkpoint_age="8s", stall="5s"),
)

{slow}
@job.pipeline
def build(lines, t_env):
    {body}
"""
SQL = 'return t_env.sql_query("SELECT {what} AS id FROM lines")'
SLOW = """
def late(text):
    import time
    time.sleep(0.005)
    return text
"""
UDF = """from pyflink.table import DataTypes
    from pyflink.table.expressions import col
    from pyflink.table.udf import udf
    return lines.select(udf(late, result_type=DataTypes.STRING().not_null())(col("id")).alias("id"))
"""
BODIES = {
    "calm": SQL.format(what="id"),
    # What is no number fails the task, again and again.
    "poison": SQL.format(what="CAST(CAST(id AS BIGINT) AS STRING)"),
    "worn": SQL.format(what="id"),
    "slow": UDF,
}
DEPLOYMENT = """
jobs:
  slow: {flink: {pipeline.operator-chaining.enabled: "false", python.fn-execution.bundle.size: "20"}}
  worn: {flink: {execution.checkpointing.tolerable-failed-checkpoints: "1000"}}
"""
RATES = {"calm": 40, "worn": 40, "slow": 1_000}
"""Records per second."""
LENGTHS = {"slow": 1_000}
"""Of an id: few long records fill the buffers between a source and what follows it."""


class Feed:
    """Live records for some topics, until it is told otherwise."""

    def __init__(self, servers):
        self.rates = dict(RATES)
        self.partitions = dict.fromkeys(RATES, (0, 1)) | {"stuck": (0,)}
        self._out = producer(servers)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        step = 0.1
        while not self._over.wait(step):
            for name, rate in list(self.rates.items()):
                for number in range(int(rate * step)):
                    partitions = self.partitions[name]
                    at = time.time_ns() // 1_000_000
                    value = json.dumps({"id": str(number).zfill(LENGTHS.get(name, 1)), "at": at}).encode()
                    self._out.produce(f"{name}_lines", value, partition=partitions[number % len(partitions)])
            self._out.poll(0)

    def end(self):
        self._over.set()
        self._thread.join(10)
        self._out.flush(10)


class Fleet:
    """The jobs of this file, running, with what happens to each."""

    def __init__(self, lab, ids):
        self.lab, self.ids = lab, ids
        self.began = {}

    @contextmanager
    def flink(self):
        with FlinkClient(self.lab.local.flink_url) as flink:
            yield flink

    def happens(self, *names):
        for name in names:
            self.began[name] = time.monotonic()

    def expect(self, record_property, scenario, job, verdict, *words):
        """Wait for a verdict with these words among its reasons, and record how long that took from the cause."""
        begun = self.began[scenario]

        def is_it(row):
            return row.verdict == verdict and all(any(word in reason for reason in row.reasons) for word in words)

        at, row = self.watch.until(job, is_it, begun)
        record_property("seconds", round(at - begun, 1))
        print(f"\n{scenario}: {verdict} after {at - begun:.1f} s: {'; '.join(row.reasons)}")
        return row


@pytest.fixture(scope="module")
def fleet(local: Local, tmp_path_factory):
    lab = Lab(local, tmp_path_factory.mktemp("health"), "test")
    for name, body in BODIES.items():
        lab.job(name, JOB.format(name=name, body=body, slow=SLOW if name == "slow" else ""))
    lab.deployment(DEPLOYMENT)
    with ThreadPoolExecutor(len(BODIES) + 1) as pool, ExitStack() as ending:
        ending.callback(lab.cancel_all)
        twin = pool.submit(prepare_twin, Lab(local, tmp_path_factory.mktemp("twin"), "twin"))
        ids = {name: pool.submit(deploy, lab.project, name) for name in BODIES}
        fleet = Fleet(lab, {name: result.result().flink_job_id for name, result in ids.items()})
        fleet.twin = ending.enter_context(twin.result())
        fleet.feed = Feed(local.kafka_servers)
        ending.callback(fleet.feed.end)
        fleet.watch = Watch(lambda: lab.project)
        ending.callback(fleet.watch.end)
        fleet.happens("healthy", "no input", "slow sink", "checkpoints failing")
        break_checkpoints(fleet)
        yield fleet


def prepare_twin(lab):
    """A client with another environment's job of the same name, compiled."""
    lab.deployment("jobs:\n  calm:\n    reads: {lines: {topic: twin_lines}}\n    writes: {topic: twin_out}\n")
    lab.job("calm", JOB.format(name="calm", body=BODIES["calm"], slow=""))
    create_topics(lab.project, "calm")
    compiler = Compiler(lab.project, "calm", print)
    compiler.prepare(desired_target(lab.project, "calm", {}))
    return compiler


def break_checkpoints(fleet):
    """Where they were to be directories there is a file."""
    directory = fleet.lab.local.home / "flink" / "checkpoints" / fleet.ids["worn"]
    shutil.rmtree(directory)
    directory.touch()


def hang(servers, topic, partition, count):
    """A transaction that its writer does not end: nobody reads past it."""
    hanging = Producer({"bootstrap.servers": servers, "transactional.id": "hanging"})
    hanging.init_transactions(10)
    hanging.begin_transaction()
    for number in range(count):
        value = json.dumps({"id": str(number), "at": time.time_ns() // 1_000_000}).encode()
        hanging.produce(topic, value, partition=partition)
    hanging.flush(10)
    return hanging


def test_job_within_its_limits_is_healthy(fleet, record_property):
    row = fleet.expect(record_property, "healthy", "calm", "healthy")
    assert row.reasons == ()


def test_job_without_input_is_idle(fleet, record_property):
    fleet.expect(record_property, "no input", "poison", "idle", "no input")


def test_failing_checkpoints_are_reported_before_and_after_the_limit(fleet, record_property):
    row = fleet.expect(record_property, "checkpoints failing", "worn", "degraded", "checkpoints failed in a row in")
    assert row.checkpoint_age_ms < 8_000
    fleet.expect(record_property, "checkpoints failing", "worn", "degraded", "old > 8.0 s", "failed since")


def test_record_that_fails_the_task_is_reported_as_a_restart_loop(fleet, record_property):
    servers = fleet.lab.local.kafka_servers
    # At the same time, to another job.
    fleet.hanging = hang(servers, "worn_lines", partition=1, count=2_000)
    plain = producer(servers)
    plain.produce("poison_lines", json.dumps({"id": "no number", "at": time.time_ns() // 1_000_000}).encode())
    plain.flush(10)
    fleet.happens("poison record", "source stuck")
    row = fleet.expect(record_property, "poison record", "poison", "failed", "times in 10 min > 2")
    assert "no number" in " ".join(row.reasons)


def test_partition_that_is_not_consumed_is_a_failure(fleet, record_property):
    row = fleet.expect(record_property, "source stuck", "worn", "failed", "partition worn_lines-1 not consumed since")
    assert row.consumer_lag >= 2_000


def test_slow_sink_is_reported_as_backpressure_with_a_rising_lag(fleet, record_property):
    row = fleet.expect(record_property, "slow sink", "slow", "degraded", "backpressure: the source waits", "rising")
    assert row.lag_per_s > 0


def test_falling_lag_is_reported_with_the_time_until_it_is_caught_up(fleet, record_property):
    fleet.feed.rates["slow"] = 0
    fleet.happens("catching up")
    row = fleet.expect(record_property, "catching up", "slow", "degraded", "falling", "inside the limit in")
    assert row.lag_per_s < 0


def test_one_silent_partition_is_not_a_fault(fleet):
    """It is taken for idle, so the watermark goes on; five looks after its own watermark has become old."""
    fleet.feed.partitions["calm"] = (0,)
    fleet.happens("one partition silent")
    begun = fleet.began["one partition silent"]
    wait_for(lambda: sum(at > begun + 12 and row.job == "calm" for at, row in list(fleet.watch.seen)) >= 5)
    rows = [row for at, row in fleet.watch.seen if at > begun and row.job == "calm"]
    assert {row.verdict for row in rows} == {"healthy"}


def test_job_that_runs_twice_is_reported_with_both_ids(fleet, record_property):
    """Another environment runs a job of the same name on the same cluster."""
    twin = uuid.uuid4().hex
    fleet.twin.submit(Submit(flink_job_id=twin))
    fleet.happens("duplicate")
    row = fleet.expect(record_property, "duplicate", "calm", "failed", f"Flink job {twin} runs under this name")
    assert row.doubles == (twin,)
    _, double = fleet.watch.until("calm", lambda row: row.state == "duplicate", fleet.began["duplicate"])
    assert double.flink_job_id == twin
    with fleet.flink() as flink:
        flink.send(calls.cancel(twin))


def test_job_cancelled_manually_is_failed(fleet, record_property):
    with fleet.flink() as flink:
        flink.send(calls.cancel(fleet.ids["worn"]))
    fleet.happens("cancelled by hand")
    row = fleet.expect(
        record_property, "cancelled by hand", "worn", "failed", "the job is CANCELED: no operation of Sluice"
    )
    assert row.state == "CANCELED"


def test_finished_job_is_failed(fleet, record_property):
    with fleet.flink() as flink:
        flink.send(calls.stop(fleet.ids["calm"], uuid.uuid4().hex, None, "NATIVE"))
        wait_for(lambda: flink.send(calls.status(fleet.ids["calm"])).status is JobState.FINISHED)
    fleet.happens("finished")
    fleet.expect(
        record_property, "finished", "calm", "failed", "the job is FINISHED: no operation of Sluice stopped it"
    )


def test_lost_taskmanager_is_reported_and_recovered_from(fleet, record_property):
    local = fleet.lab.local
    os.kill(int(Supervisor(local.home, local.logs).states()["flink-taskmanager"]["pid"]), signal.SIGKILL)
    fleet.happens("TaskManager lost")
    fleet.expect(record_property, "TaskManager lost", "slow", "degraded", "tasks running")
    fleet.watch.until("slow", lambda row: row.state == "RUNNING" and row.consumer_lag is not None, time.monotonic())


def test_jobs_of_an_unreachable_cluster_are_unknown(fleet, record_property):
    local = fleet.lab.local
    pid = int(Supervisor(local.home, local.logs).states()["flink-jobmanager"]["pid"])
    os.kill(pid, signal.SIGSTOP)
    fleet.happens("JobManager unreachable")
    try:
        row = fleet.expect(record_property, "JobManager unreachable", "slow", "unknown", "no answer within 2 s")
        assert row.state == "unreachable"
    finally:
        os.kill(pid, signal.SIGCONT)
    at = time.monotonic()
    fleet.watch.until("slow", lambda row: row.state == "RUNNING", at)
