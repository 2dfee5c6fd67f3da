"""A new release that stalls: from the sweeps to the rollback."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice import Health
from sluice.fleet.members import Member
from sluice.fleet.needs import find_needs
from sluice.fleet.readings import to_sample
from sluice.fleet.rows import JobStatus
from sluice.fleet.sweep import SweepBudget, sweep
from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.health.probe import WatchedJob
from sluice.plan.request import DeployRequest
from tests.simulator.simulated import JOB
from tests.support.brokers import HeldBrokers, HeldTopics
from tests.support.recorded import PARTITIONS, TOPIC, RecordedCluster, body

HEALTH = Health(start_timeout=timedelta(minutes=1))
"""The recorded job has run for a minute and a half."""
BETWEEN_MS = 600_000
ENDS = [8_000] * PARTITIONS
OTHER = "other", "b" * 32
NO_BROKER = "org.apache.kafka.common.errors.TimeoutException: no answer"


def sweep_once(names, previous=None, *, is_busy=True, brokers=None, health=HEALTH, **changes):
    """A sweep of jobs without progress since the sweep before; their tasks are busy, or wait for input."""

    def earlier(name, snapshot):
        spent = {"busy_ms" if is_busy else "idle_ms": BETWEEN_MS}
        work = tuple(
            replace(each, **{key: getattr(each, key) - value * each.parallelism for key, value in spent.items()})
            for each in snapshot.work
        )
        return replace(snapshot, at_ms=snapshot.at_ms - BETWEEN_MS, work=work)

    before = {row.status.job: earlier(row.status.job, row.snapshot) for row in previous or ()}
    members = [
        Member(
            JobStatus(name, "", 2, job_id, drift=False, phase="running"),
            WatchedJob(job_id, (TOPIC,), name, previous=before.get(name)),
            health,
        )
        for name, job_id in names
    ]
    cluster = RecordedCluster({job_id: name for name, job_id in names}, changes=changes)

    async def go():
        client = FlinkClient("http://flink", exchange=lambda _m, target, _b: cluster.answer(target), pauses=(0.0,))
        async with AsyncFlinkClient(client) as flink:
            return await sweep(
                members, flink, HeldBrokers(brokers or HeldTopics({TOPIC: ENDS})), budget=SweepBudget(metrics_fetch_s=0)
            )

    return asyncio.run(go())


def second_sweep(*names, **more):
    """The observations of a second sweep."""
    return [row.status for row in sweep_once(names, sweep_once(names), **more)]


A = "a", "a" * 32


def test_stalled_job_with_a_busy_operator_is_at_fault():
    [row] = second_sweep(A)
    assert (row.verdict, row.own_fault) == ("failed", True)
    assert "12 of 12 partitions" in " ".join(row.reasons)


@pytest.mark.parametrize(
    "more",
    [
        {"is_busy": False},
        {"brokers": HeldTopics({TOPIC: ENDS}, is_down=True)},
        {"job": body("job").replace('"RUNNING":4', '"RUNNING":3', 1)},
        {"health": Health()},
    ],
    ids=["its source waits", "no brokers", "no slots", "just started"],
)
def test_stalled_job_that_waits_for_input_is_not_at_fault(more):
    [row] = second_sweep(A, **more)
    assert not row.own_fault


def test_job_with_one_moving_partition_is_not_stalled():
    first = sweep_once([A])
    [previous] = first
    splits = {**previous.snapshot.splits}
    key = TOPIC, 3
    splits[key] = replace(splits[key], next_offset=splits[key].next_offset - 5)
    [found] = sweep_once([A], [replace(previous, snapshot=replace(previous.snapshot, splits=splits))])
    assert (found.status.verdict, found.status.own_fault) == ("failed", False)


def test_jobs_that_stall_at_once_are_not_at_fault():
    rows = second_sweep(A, OTHER)
    assert [row.own_fault for row in rows] == [False, False]
    assert all(
        row.reasons[-1] == "2 jobs have stalled at once, so the cause may be the brokers or the cluster that they share"
        for row in rows
    )


def test_new_release_stalled_in_two_runs_is_rolled_back_once_and_not_redeployed(simulated):
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    newest = simulated.cluster.checkpoint(simulated.place.flink_job_id, "Window")
    names, now = [(JOB, simulated.place.flink_job_id)], datetime.now(UTC)
    found, decided = sweep_once(names), []
    for number in range(2):
        found = sweep_once(names, found)
        at = now + timedelta(minutes=10 * number)
        samples = [to_sample("test", row, at, f"r{number}") for row in found]
        simulated.ledger.samples.add(samples, older_than=now - timedelta(days=1))
        [needed] = find_needs(simulated.project, [row.status for row in found], print, at)
        decided.append(needed)
    first, second = decided
    assert first.decision.need == "nothing"
    assert first.decision.why.startswith("failed for the first time in this sweep")
    assert second.decision.need == "roll_back", second.words
    assert "not consumed since" in second.decision.why
    assert second.request == DeployRequest(kind="rollback", mode="last-state", expected_release=2)
    # It completes no checkpoint any more: the rollback starts from the newest one.
    simulated.cluster.checkpoints_never_complete = True
    started = simulated.operate("sweep", **vars(second.request))
    simulated.settle(started)
    assert "no fresh checkpoint within 30 s" in simulated.log_lines
    assert (simulated.place.release, started.restored_from) == (1, newest)
    # The previous release stalls too: it is not new, and there is none before it.
    names = [(JOB, simulated.place.flink_job_id)]
    [row] = [replace(each.status, release=1) for each in sweep_once(names, sweep_once(names))]
    old = at + timedelta(minutes=31)
    for number in range(2, 4):
        samples = [to_sample("test", replace(found[0], status=row), old, f"r{number}")]
        simulated.ledger.samples.add(samples, older_than=now - timedelta(days=1))
    [needed] = find_needs(simulated.project, [row], print, old)
    assert (needed.decision.need, needed.request) == ("report", None)
