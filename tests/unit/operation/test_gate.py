"""A job that doesn't begin where its state stands is not the one that was meant."""

import asyncio
from dataclasses import replace

import pytest

from sluice.errors import FlinkError, UnreachableError
from sluice.flink.models import JobState
from sluice.health.gates import Reading
from sluice.health.progress import Proof
from sluice.health.snapshot import Failure, Snapshot, SplitReading
from sluice.job.limits import Health
from sluice.operation import gate
from sluice.operation.gate import GateOrder, _Watch
from tests.unit.health.judging import GOOD

SAVEPOINT = "file:///savepoints/savepoint-1"


@pytest.fixture(autouse=True)
def _brokers(monkeypatch):
    monkeypatch.setattr(gate, "connect", lambda _kafka: None)
    monkeypatch.setattr(gate, "read_stable_ends", lambda *_arguments: {})


def order(**changes):
    return GateOrder(
        **{
            "gates": ("running",),
            "flink": "http://flink",
            "flink_job_id": "a" * 32,
            "topics": ("lines",),
            "kafka": {},
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
    return _Watch(order()).read("running", snapshot)


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
def test_it_must_not_read_what_its_state_has_counted(split, hopeless):
    reading = read(split)
    assert reading.hopeless == hopeless
    assert ("reads lines-0 at 4, before 5, where its state stands" in reading.words) == hopeless


@pytest.mark.parametrize(
    ("found", "hopeless"),
    [
        ("file:/savepoints/savepoint-1", False),
        ("file:///savepoints/savepoint-2", True),
        (f"file:/checkpoints/{'a' * 32}/chk-3", False),
    ],
)
def test_it_must_be_restored_from_what_was_meant(found, hopeless):
    assert read(SplitReading(lag=0, watermark_ms=None, next_offset=5), found).hopeless == hopeless


def test_a_gate_knows_which_topics_have_no_event_time(monkeypatch):
    asked = {}

    async def probe(*_given, **more):
        asked.update(more)
        return Snapshot(1_000, JobState.RUNNING)

    monkeypatch.setattr(gate, "probe", probe)
    asyncio.run(_Watch(order(untimed=("lines",))).look(None))
    assert asked["untimed"] == ("lines",)


@pytest.mark.parametrize(
    "refusal",
    [
        FlinkError("Flink at http://flink denies access: 403 for GET /jobs", status=403),
        FlinkError("Flink at http://flink: the answer is not as Flink 2.3 gives it"),
        UnreachableError("Flink at http://flink does not answer"),
    ],
)
def test_a_cluster_that_refuses_to_answer_is_told_and_asked_again_until_the_deadline(monkeypatch, refusal):
    async def probe(*_given, **_more):
        raise refusal

    monkeypatch.setattr(gate, "probe", probe)
    assert gate.look(order()) == Reading(passed=False, words=str(refusal))
    late = gate.look(order(deadline=0.0))
    assert (late.hopeless, late.words) == (True, f"{refusal}, at the deadline")


def test_what_does_not_answer_is_hopeless_only_after_the_deadline():
    watch = _Watch(order(deadline=0.0))
    reading = watch.read("running", Snapshot(1_000, JobState.RUNNING))
    assert reading.hopeless
    assert reading.words.endswith(", at the deadline")


@pytest.mark.parametrize(("wanted", "passed"), [(SAVEPOINT, False), (None, True)])
def test_it_is_not_passed_before_the_cluster_tells_what_the_job_was_restored_from(wanted, passed):
    snapshot = replace(GOOD, restored_from=None)
    reading = _Watch(order(restored_from=wanted)).read("running", snapshot)
    assert (reading.passed, reading.hopeless) == (passed, False)
    assert reading.words.endswith(f"restored from nothing that the cluster tells, expected {wanted}") != passed


def test_a_failure_that_comes_again_while_its_record_waits_is_not_waited_for():
    watch = _Watch(order(restored_from=None, positions=None))
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


def test_the_gate_does_not_pass_between_two_restarts():
    watch = _Watch(order(restored_from=None, positions=None))
    watch._proof = Proof({("lines", 0): 1}, {("lines", 0): 0})
    waits = replace(GOOD, splits={("lines", 0): SplitReading(1, None, next_offset=0, end=1)})
    reading = watch.read("running", waits)
    assert (reading.passed, reading.hopeless) == (False, False)
    assert reading.words.endswith("none of the records that wait in lines-0 has been read")
