"""The gate `running` triggers a checkpoint if only that is missing."""

import asyncio
from dataclasses import replace

import pytest

from sluice.errors import FlinkError, UnreachableError
from sluice.health.gates import Gate
from sluice.health.progress import Proof
from sluice.health.snapshot import CheckpointReading, SplitReading
from sluice.operation.gate import _Watch
from sluice.operation.gate_order import gate_order
from sluice.operation.started import Started
from tests.simulator.brokers import SimulatedBrokers
from tests.simulator.simulated import JOB
from tests.unit.health.judging import GOOD
from tests.unit.operation.test_gate import order

READ = replace(
    GOOD,
    splits={("lines", 0): SplitReading(0, None, next_offset=1, end=1)},
    checkpoints=CheckpointReading(),
    began_ms=GOOD.at_ms - 5_000,
    cluster_ms=GOOD.at_ms,
)


class Cluster:
    """Records the requests; raises the errors in turn, then answers."""

    def __init__(self, *errors):
        self.errors, self.calls = list(errors), []

    async def send(self, call):
        self.calls.append((call.method, call.path))
        if self.errors:
            raise self.errors.pop(0)


def watch(snapshot, *, triggers=True):
    found = _Watch(SimulatedBrokers(), order(restored_from=None, positions=None, triggers_checkpoint=triggers))
    found._proof = Proof({("lines", 0): 1}, {("lines", 0): 0})
    return look(found, snapshot)


def look(found, snapshot):
    found._former = snapshot
    found.words = found.read("running", snapshot).words
    return found


def request(found, cluster):
    asyncio.run(found.request_checkpoint(cluster))


TRIGGER = ("POST", f"/jobs/{'a' * 32}/checkpoints")


def test_checkpoint_is_triggered_once_when_the_waiting_records_are_read():
    cluster, found = Cluster(), watch(READ)
    request(found, cluster)
    request(look(found, replace(READ, at_ms=READ.at_ms + 1_000)), cluster)
    assert cluster.calls == [TRIGGER]


def test_checkpoint_is_triggered_again_after_a_restart():
    cluster, found = Cluster(), watch(READ)
    request(found, cluster)
    again = replace(READ, began_ms=READ.began_ms + 4_000, cluster_ms=READ.cluster_ms + 30_000)
    request(look(found, again), cluster)
    assert cluster.calls == [TRIGGER, TRIGGER]


@pytest.mark.parametrize(
    "changes",
    [
        {"splits": {("lines", 0): SplitReading(1, None, next_offset=0, end=1)}},
        {"tasks_running": 0},
        {"checkpoints": CheckpointReading(completed=1, triggered_ms=READ.cluster_ms + 1)},
    ],
    ids=["records wait", "a task does not run", "a checkpoint covers them"],
)
def test_no_checkpoint_is_triggered_otherwise(changes):
    cluster = Cluster()
    request(watch(replace(READ, **changes)), cluster)
    assert cluster.calls == []


def test_no_checkpoint_is_triggered_for_a_job_that_was_not_changed():
    cluster = Cluster()
    request(watch(READ, triggers=False), cluster)
    assert cluster.calls == []


@pytest.mark.parametrize(
    ("changes", "triggers"), [({}, True), ({"unchanged": True}, False), ({"recorded": True}, False)]
)
def test_checkpoint_is_triggered_only_for_a_flink_job_that_the_operation_started(simulated, changes, triggers):
    started = replace(Started(simulated.deploy().operation, 1, "a" * 32, None, unchanged=False), **changes)
    found = gate_order(simulated.project, JOB, started, (Gate.RUNNING,), print)
    assert found.triggers_checkpoint == triggers


@pytest.mark.parametrize(
    ("is_proven", "unchanged", "requires"), [(True, True, False), (False, True, True), (True, False, True)]
)
def test_proof_is_required_unless_an_unchanged_release_has_passed_its_gates(simulated, is_proven, unchanged, requires):
    found = simulated.deploy() if is_proven else simulated.operate()
    found = replace(found, unchanged=unchanged)
    assert gate_order(simulated.project, JOB, found, (Gate.RUNNING,), print).requires_proof == requires


def test_refused_checkpoint_is_reported_and_not_requested_again():
    cluster, found = Cluster(FlinkError("Flink at http://flink: 500 for POST")), watch(READ)
    request(found, cluster)
    request(look(found, READ), cluster)
    assert cluster.calls == [TRIGGER]
    assert found.words.endswith("triggering a checkpoint failed: Flink at http://flink: 500 for POST")


def test_checkpoint_is_requested_again_if_flink_did_not_answer():
    cluster, found = Cluster(UnreachableError("Flink at http://flink does not answer")), watch(READ)
    request(found, cluster)
    request(found, cluster)
    assert cluster.calls == [TRIGGER, TRIGGER]
