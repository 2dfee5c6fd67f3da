"""A fresh release that stands still: from the sweeps' looks to the way back."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice import Health
from sluice.fleet import needs
from sluice.fleet.members import Member
from sluice.fleet.needs import find_needs
from sluice.fleet.readings import to_sample
from sluice.fleet.rows import JobStatus
from sluice.fleet.sweep import sweep
from sluice.flink import client as client_module
from sluice.flink.client import AsyncFlinkClient
from sluice.health.probe import Target
from sluice.operation import stop
from sluice.plan.request import DeployRequest
from tests.support.brokers import HeldTopics
from tests.support.recorded import PARTITIONS, TOPIC, RecordedCluster, body
from tests.support.simulated import JOB

HEALTH = Health(start_timeout=timedelta(minutes=1))
"""The recorded job has run for a minute and a half."""
BETWEEN_MS = 600_000
ENDS = [8_000] * PARTITIONS
OTHER = "other", "b" * 32
NO_BROKER = "org.apache.kafka.common.errors.TimeoutException: no answer"


@pytest.fixture(autouse=True)
def no_pauses(monkeypatch):
    monkeypatch.setattr(client_module, "_PAUSES", (0.0,))
    monkeypatch.setattr("sluice.kafka.offsets.TIMEOUT", 0.2)


def look(names, former=None, *, is_at_work=True, brokers=None, health=HEALTH, **changes):
    """A sweep of jobs that have done nothing since the one before, their tasks being busy, or waiting for input."""

    def earlier(name, snapshot):
        spent = {"busy_ms" if is_at_work else "idle_ms": BETWEEN_MS}
        work = tuple(
            replace(each, **{key: getattr(each, key) - value * each.parallelism for key, value in spent.items()})
            for each in snapshot.work
        )
        return replace(snapshot, at_ms=snapshot.at_ms - BETWEEN_MS, work=work)

    before = {row.status.job: earlier(row.status.job, row.snapshot) for row in former or ()}
    members = [
        Member(
            JobStatus(name, "", 2, job_id, drift=False, phase="running"),
            Target(job_id, (TOPIC,), name, former=before.get(name)),
            health,
        )
        for name, job_id in names
    ]
    cluster = RecordedCluster({job_id: name for name, job_id in names}, changes=changes)

    async def go():
        async with AsyncFlinkClient("http://flink", exchange=lambda _m, target, _b: cluster.answer(target)) as flink:
            kafka = {"bootstrap.servers": "nowhere:1"}
            return await sweep(members, flink, kafka, admin=brokers or HeldTopics({TOPIC: ENDS}))

    return asyncio.run(go())


def standing_still(*names, **more):
    """The rows of a second sweep."""
    return [row.status for row in look(names, look(names), **more)]


A = "a", "a" * 32


def test_one_that_works_and_lets_nothing_through_is_at_fault_itself():
    [row] = standing_still(A)
    assert (row.verdict, row.own_fault) == ("failed", True)
    assert "12 of 12 partitions" in " ".join(row.reasons)


@pytest.mark.parametrize(
    "more",
    [
        {"is_at_work": False},
        {"brokers": HeldTopics({TOPIC: ENDS}, is_down=True)},
        {"job": body("job").replace('"RUNNING":4', '"RUNNING":3', 1)},
        {"health": Health()},
    ],
    ids=["its source waits", "no brokers", "no slots", "just started"],
)
def test_what_waits_for_something_else_is_not(more):
    [row] = standing_still(A, **more)
    assert not row.own_fault


def test_one_partition_that_moves_is_no_standing_still():
    first = look([A])
    [former] = first
    splits = {**former.snapshot.splits}
    key = TOPIC, 3
    splits[key] = replace(splits[key], following=splits[key].following - 5)
    [found] = look([A], [replace(former, snapshot=replace(former.snapshot, splits=splits))])
    assert (found.status.verdict, found.status.own_fault) == ("failed", False)


def test_of_jobs_that_stand_still_together_none_is_at_fault():
    rows = standing_still(A, OTHER)
    assert [row.own_fault for row in rows] == [False, False]
    assert all(
        row.reasons[-1] == "2 jobs stand still at once, so that it may be what they share: the brokers, the cluster"
        for row in rows
    )


def test_a_fresh_release_that_stands_still_in_two_runs_goes_back_once_and_is_not_deployed_again(simulated, monkeypatch):
    simulated.deploy()
    simulated.deploy(overrides={"least": 1})
    newest = simulated.checkpoint(simulated.place.flink_job_id, "Window")
    monkeypatch.setattr(needs, "make_plan", lambda _project, _job, request, _tell: simulated.plan(**vars(request)).plan)
    names, now = [(JOB, simulated.place.flink_job_id)], datetime.now(UTC)
    found, decided = look(names), []
    for number in range(2):
        found = look(names, found)
        at = now + timedelta(minutes=10 * number)
        samples = [to_sample("test", row, at, f"r{number}") for row in found]
        simulated.ledger.samples.add(samples, older_than=now - timedelta(days=1))
        [needed] = find_needs(simulated.project, [row.status for row in found], print, at)
        decided.append(needed)
    first, second = decided
    assert first.decision.need == "nothing"
    assert first.decision.why.startswith("seen failed for the first time")
    assert second.decision.need == "roll_back", second.words
    assert "not consumed since" in second.decision.why
    assert second.request == DeployRequest(kind="rollback", mode="last-state", expected_release=2)
    # It makes no checkpoint any more, either: the newest one that it has will do.
    simulated.lets_nothing_through = True
    monkeypatch.setattr(stop, "_FRESH", 0.2)
    started = simulated.operate("sweep", **vars(second.request))
    simulated.settle(started)
    assert "no fresh checkpoint within 0 s" in simulated.told
    assert (simulated.place.release, started.restored_from) == (1, newest)
    # The former release stands still likewise: it is not fresh, and nothing goes further back.
    names = [(JOB, simulated.place.flink_job_id)]
    [row] = [replace(each.status, release=1) for each in look(names, look(names))]
    old = at + timedelta(minutes=31)
    for number in range(2, 4):
        samples = [to_sample("test", replace(found[0], status=row), old, f"r{number}")]
        simulated.ledger.samples.add(samples, older_than=now - timedelta(days=1))
    [needed] = find_needs(simulated.project, [row], print, old)
    assert (needed.decision.need, needed.request) == ("report", None)
