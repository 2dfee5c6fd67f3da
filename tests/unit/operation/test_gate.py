"""A job passes no gate unless it was restored from the expected savepoint and reads from its offsets."""

import asyncio
import json
from dataclasses import replace
from datetime import timedelta
from types import SimpleNamespace

import httpx
import pytest

from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.flink.models import JobState
from sluice.health.progress import Proof
from sluice.health.snapshot import Failure, Snapshot, SplitReading
from sluice.job.limits import Health
from sluice.kafka.offsets import Offsets
from sluice.operation import gate
from sluice.operation.gate import _Watch
from sluice.operation.gate_order import GateOrder
from sluice.ports import Ports
from tests.simulator.brokers import SimulatedBrokers
from tests.simulator.clock import SimulatedClock
from tests.support.answering import answered_by
from tests.support.recorded import PARTITIONS, TOPIC, RecordedCluster
from tests.unit.health.judging import GOOD

SAVEPOINT = "file:///savepoints/savepoint-1"
JOB = "a" * 32


def order(**changes):
    return GateOrder(
        **{
            "gates": ("running",),
            "flink_job_id": JOB,
            "topics": ("lines",),
            "group": "group",
            "health": Health(),
            "deadline": 10.0**12,
            "restored_from": SAVEPOINT,
            "positions": {"lines": {"0": 5, "1": -2}, "former": {"0": 9}},
        }
        | changes
    )


def read(split, restored_from="file:/savepoints/savepoint-1"):
    snapshot = Snapshot(
        1_000, JobState.RUNNING, restored_from=restored_from, splits={("lines", 0): split, ("lines", 1): split}
    )
    return _Watch(SimulatedBrokers(), order()).read("running", snapshot)


@pytest.mark.parametrize(
    ("split", "hopeless"),
    [
        (SplitReading(lag=0, watermark_ms=None, next_offset=5), False),
        (SplitReading(lag=0, watermark_ms=None, next_offset=9), False),
        (SplitReading(lag=0, watermark_ms=None, next_offset=4), True),
        (SplitReading(lag=0, watermark_ms=None, next_offset=4, is_guessed=True), False),
        (SplitReading(lag=None, watermark_ms=None), False),
    ],
)
def test_gate_fails_if_the_job_reads_before_the_offset_in_its_state(split, hopeless):
    reading = read(split)
    assert reading.hopeless == hopeless
    assert ("reads lines-0 from offset 4, expected at least 5, the offset in its state" in reading.words) == hopeless


@pytest.mark.parametrize(
    ("found", "hopeless"),
    [
        ("file:/savepoints/savepoint-1", False),
        ("file:///savepoints/savepoint-2", True),
        (f"file:/checkpoints/{'a' * 32}/chk-3", False),
    ],
)
def test_gate_fails_if_the_job_was_restored_from_another_savepoint(found, hopeless):
    assert read(SplitReading(lag=0, watermark_ms=None, next_offset=5), found).hopeless == hopeless


def test_snapshot_of_a_gate_lists_topics_without_event_time():
    brokers = SimulatedBrokers({(TOPIC, number): Offsets(0, 10_000) for number in range(PARTITIONS)})
    cluster, given = RecordedCluster({JOB: "event_metrics"}), order(topics=(TOPIC,), untimed=(TOPIC,), positions=None)

    async def look():
        client = FlinkClient("http://flink", exchange=lambda _method, target, _body: cluster.answer(target))
        async with AsyncFlinkClient(client) as flink:
            return await _Watch(brokers, given).look(flink)

    assert asyncio.run(look()).untimed == (TOPIC,)


def refused(_request):
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _request: httpx.Response(403), "Flink at http://flink denies access: 403 for GET /jobs"),
        (lambda _request: httpx.Response(200, json={}), "the answer is not as Flink 2.3 gives it"),
        (refused, "Flink at http://flink does not answer"),
    ],
)
def test_cluster_error_is_reported_and_the_request_repeated_until_the_deadline(answer, words):
    def connect():
        return AsyncFlinkClient(FlinkClient("http://flink", exchange=answered_by(answer), pauses=()))

    project = SimpleNamespace(brokers=SimulatedBrokers(), connect_async=connect, clock=SimulatedClock(), ports=Ports())
    early = gate.look(project, order())
    assert (early.passed, early.hopeless) == (False, False)
    assert words in early.words
    late = gate.look(project, order(deadline=0.0))
    assert (late.hopeless, late.words) == (True, f"{early.words}, at the deadline")


def test_gate_that_has_not_passed_fails_at_the_deadline():
    watch = _Watch(SimulatedBrokers(), order(deadline=0.0))
    reading = watch.read("running", Snapshot(1_000, JobState.RUNNING))
    assert reading.hopeless
    assert reading.words.endswith(", at the deadline")


@pytest.mark.parametrize(("wanted", "passed"), [(SAVEPOINT, False), (None, True)])
def test_gate_waits_until_the_cluster_reports_the_restored_savepoint(wanted, passed):
    snapshot = replace(GOOD, restored_from=None)
    reading = _Watch(SimulatedBrokers(), order(restored_from=wanted)).read("running", snapshot)
    assert (reading.passed, reading.hopeless) == (passed, False)
    assert reading.words.endswith(f"the cluster reports no restored state, expected {wanted}") != passed


def test_repeated_failure_on_a_waiting_record_fails_the_gate():
    watch = _Watch(SimulatedBrokers(), order(restored_from=None, positions=None))
    watch._proof = Proof({("lines", 0): 1}, {("lines", 0): 0})
    fails = replace(
        GOOD,
        splits={("lines", 0): SplitReading(1, None, next_offset=0, end=1)},
        failures=tuple(Failure(GOOD.at_ms - 1_000 * ago, "KeyError: 'a'", is_python=True) for ago in (8, 9, 10)),
        restarts=3,
    )
    reading = watch.read("running", fails)
    assert reading.hopeless
    assert "KeyError: 'a'" in reading.words


def test_gate_does_not_pass_between_two_restarts():
    watch = _Watch(SimulatedBrokers(), order(restored_from=None, positions=None))
    watch._proof = Proof({("lines", 0): 1}, {("lines", 0): 0})
    waits = replace(GOOD, splits={("lines", 0): SplitReading(1, None, next_offset=0, end=1)})
    reading = watch.read("running", waits)
    assert (reading.passed, reading.hopeless) == (False, False)
    assert reading.words.endswith("none of the records that wait in lines-0 has been read")


@pytest.mark.parametrize(("interval", "after_s"), [("5 s", 30), ("20 s", 60)])
def test_gate_says_that_the_metrics_of_the_cluster_are_stale(interval, after_s):
    clock = SimulatedClock()
    counts = {"numRestarts": 0, "numberOfCompletedCheckpoints": 3}
    shown = json.dumps([{"id": name, "value": str(count)} for name, count in counts.items()])
    cluster = RecordedCluster({JOB: "event_metrics"}, changes={"job_metrics": shown})

    def answer(_method, target, _body):
        if target == "/jobmanager/config":
            return 200, json.dumps([{"key": "metrics.fetcher.update-interval", "value": interval}]).encode()
        status, content = cluster.answer(target)
        if target == f"/jobs/{JOB}":
            content = json.dumps({**json.loads(content), "now": int(clock.now().timestamp() * 1000)}).encode()
        return status, content

    def connect():
        return AsyncFlinkClient(FlinkClient("http://flink", exchange=answer))

    ends = {(TOPIC, number): Offsets(0, 10_000) for number in range(PARTITIONS)}
    project = SimpleNamespace(brokers=SimulatedBrokers(ends), connect_async=connect, clock=clock, ports=Ports())
    began = clock.now()
    waits = order(
        topics=(TOPIC,), restored_from=None, positions=None, deadline=(began + timedelta(minutes=2)).timestamp()
    )

    async def said():
        found = []
        async for _, reading in gate.readings(project, waits):
            found.append(((clock.now() - began).total_seconds(), reading))
        return found

    readings = asyncio.run(said())
    first = next(second for second, reading in readings if "metrics of the cluster have not changed" in reading.words)
    assert first == pytest.approx(after_s, abs=1.5)
    # It is said once, and then at the deadline.
    assert [reading.hopeless for second, reading in readings if second >= first] == [False, True]
    assert "have not changed since" in readings[-1][1].words
