"""Sweeps over recorded answers of real jobs: shared requests, and unreadable jobs that hide no others."""

import asyncio
import json
import threading
from dataclasses import replace

import pytest

from sluice import Health
from sluice.fleet.discrepancies import Discrepancy, DiscrepancyKind
from sluice.fleet.members import Member
from sluice.fleet.readings import to_readings, to_snapshot
from sluice.fleet.reconcile import LedgerView
from sluice.fleet.rows import JobStatus
from sluice.fleet.sweep import SweepBudget, _add_offset, sweep
from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.health.probe import WatchedJob
from sluice.ledger.tables import Placement
from tests.support.brokers import HeldBrokers, HeldTopics
from tests.support.recorded import PARTITIONS, TOPIC, RecordedCluster, body

NAMES = ("a", "b", "c")
AT_ONCE = SweepBudget(metrics_fetch_s=0)
ENDS = {TOPIC: [8_000] * PARTITIONS}


def job_id(name):
    return name * 32


def member(name, **more):
    target = WatchedJob(job_id(name), (TOPIC,), f"group-{name}", **more)
    return Member(JobStatus(name, "", 1, job_id(name), drift=False, phase="running"), target, Health())


def cluster(names=NAMES, **changes):
    return RecordedCluster({job_id(name): name for name in names}, **changes)


def run(cluster, members, *, brokers=None, answer=None, **more):
    over = threading.Event()

    def respond(_method, target, _body):
        status, content = (answer or cluster.answer)(target)
        if status is None:
            over.wait(60)
        return status, content

    async def go():
        async with AsyncFlinkClient(FlinkClient("http://flink", exchange=respond, pauses=(0.0,))) as flink:
            return await sweep(members, flink, HeldBrokers(brokers or HeldTopics(ENDS)), **{"budget": AT_ONCE, **more})

    try:
        return asyncio.run(go())
    finally:
        over.set()


def rows(found):
    return {row.status.job: (row.status.state, row.status.verdict) for row in found}


def test_sweep_requests_job_list_and_topic_ends_once():
    asked, brokers = cluster(), HeldTopics(ENDS)
    first = run(asked, [member(name) for name in NAMES], brokers=brokers)
    assert rows(first) == dict.fromkeys(NAMES, ("RUNNING", "degraded"))
    assert brokers.calls == 3
    again = cluster()
    run(again, [member(row.status.job, previous=row.snapshot) for row in first])
    assert len(again.asked) == 2 + 5 * len(NAMES)


def test_row_has_the_figures_of_the_snapshot():
    [found] = run(cluster("a"), [member("a")])
    status = found.status
    assert (status.release, status.restarts, status.recent_restarts, status.drift) == (1, 0, 0, False)
    assert status.consumer_lag == sum(split.lag for split in found.snapshot.splits.values()) > 10_000
    assert status.checkpoint_bytes == 195_090
    assert f"consumer lag {status.consumer_lag:,} > 10,000 records" in status.reasons


@pytest.mark.parametrize(
    ("cause", "is_own"), [("java.lang.ArithmeticException: / by zero", True), ("x.NoResource: no slots", False)]
)
def test_row_says_whether_a_failure_is_the_jobs_own_fault(cause, is_own):
    entry = {"timestamp": 1, "stacktrace": f"x.Outer: outer\nCaused by: {cause}\n"}
    changes = {
        "job": body("job").replace('"state":"RUNNING"', '"state":"FAILED"', 1),
        "exceptions": json.dumps({"exceptionHistory": {"entries": [entry], "truncated": False}}),
    }
    [found] = run(cluster("a", changes=changes), [member("a")])
    assert (found.status.state, found.status.verdict, found.status.own_fault) == ("FAILED", "failed", is_own)


def test_snapshot_survives_being_stored_as_a_sample():
    [found] = run(cluster("a"), [member("a")])
    kept = json.loads(json.dumps(to_readings(found.snapshot)))
    previous = to_snapshot(kept)
    assert previous == found.snapshot
    asked = cluster("a")
    [later] = run(asked, [member("a", previous=replace(previous, at_ms=previous.at_ms - 10_000))])
    assert len(asked.asked) == 7
    assert later.status.lag_per_s == 0.0
    assert all(split.stalled_since_ms for split in later.snapshot.splits.values())


def test_sample_keeps_topics_without_event_time_and_new_declarations_win():
    [found] = run(cluster("a"), [member("a", untimed=(TOPIC,))])
    assert not any("watermark" in words for words in found.status.reasons)
    kept = json.loads(json.dumps(to_readings(found.snapshot)))
    assert to_snapshot(kept) == found.snapshot
    # A sample of an earlier version has no such topics, and gives a snapshot all the same.
    del kept["untimed"]
    previous = to_snapshot(kept)
    assert previous == replace(found.snapshot, untimed=())
    [later] = run(cluster("a"), [member("a", untimed=(TOPIC,), previous=previous)])
    assert later.snapshot.untimed == (TOPIC,)


def test_readings_of_another_version_give_no_snapshot():
    assert to_snapshot(None) is None
    assert to_snapshot({"at_ms": 1}) is None
    assert to_snapshot({"at_ms": 1, "state": None, "splits": {"t": {"0": [1, 2]}}}) is None


def test_unreadable_job_does_not_hide_other_jobs():
    asked = cluster()

    def answer(target):
        return (500, b"{}") if job_id("b") in target else asked.answer(target)

    found = run(asked, [member(name) for name in NAMES], answer=answer)
    assert rows(found) == {"a": ("RUNNING", "degraded"), "b": ("unreachable", "unknown"), "c": ("RUNNING", "degraded")}
    assert "not ready: 500" in found[1].status.reasons[0]
    assert found[1].snapshot is None


def test_slow_job_does_not_delay_other_jobs():
    asked = cluster()

    def answer(target):
        return (None, b"") if job_id("b") in target else asked.answer(target)

    found = run(asked, [member(name) for name in NAMES], answer=answer, budget=replace(AT_ONCE, job_timeout_s=0.5))
    assert found[1].status.reasons == ("no answer within 0 s",)
    assert rows(found)["c"] == ("RUNNING", "degraded")


def test_jobs_not_read_within_the_sweeps_time_limit_are_unreachable():
    asked = cluster()

    def answer(target):
        return (None, b"") if any(job_id(name) in target for name in NAMES) else asked.answer(target)

    found = run(
        asked, [member(name) for name in NAMES], answer=answer, budget=replace(AT_ONCE, max_jobs=1, timeout_s=0.3)
    )
    assert rows(found) == dict.fromkeys(NAMES, ("unreachable", "unknown"))
    assert found[2].status.reasons == ("not read: the sweep reached its time limit of 0 s",)


def test_all_jobs_are_unreachable_if_flink_does_not_answer():
    found = run(cluster(), [member(name) for name in NAMES], answer=lambda _target: (503, b"starting"))
    assert rows(found) == dict.fromkeys(NAMES, ("unreachable", "unknown"))
    assert "not ready: 503" in found[0].status.reasons[0]


def test_job_missing_from_the_list_is_gone_without_further_requests():
    asked = cluster("a")
    found = run(asked, [member("a"), member("b")])
    assert rows(found)["b"] == ("gone", "failed")
    assert not any(job_id("b") in target for target in asked.asked)


@pytest.mark.parametrize(
    ("brokers", "reason"),
    [
        (HeldTopics(ENDS, is_down=True), "Kafka at nowhere:1: "),
        (HeldTopics({}), f"topic {TOPIC}: the broker does not know this topic"),
    ],
    ids=["broker down", "topic gone"],
)
def test_job_without_topic_ends_is_judged_by_its_other_figures(brokers, reason):
    [found] = run(cluster("a"), [member("a")], brokers=brokers)
    assert (found.status.state, found.status.consumer_lag) == ("RUNNING", None)
    assert found.status.verdict == "degraded"  # the recorded checkpoint is old by now
    assert any(words.startswith(reason) for words in found.status.reasons)


def test_duplicate_is_reported_in_both_rows():
    twice = RecordedCluster({job_id("a"): "a", job_id("b"): "a"})
    found = run(twice, [member("a")])
    assert [(row.status.state, row.status.verdict, row.status.flink_job_id) for row in found] == [
        ("RUNNING", "failed", job_id("a")),
        ("duplicate", "unknown", job_id("b")),
    ]
    assert found[0].status.reasons[0].startswith(f"Flink job {job_id('b')} runs under this name too")


def test_undeclared_job_is_reported_by_a_sweep_over_all_jobs():
    found = run(cluster(("a", "z")), [member("a")])
    assert rows(found)["z"] == ("undeclared", "unknown")
    assert "Sluice leaves it alone" in found[1].status.reasons[0]
    assert len(run(cluster(("a", "z")), [member("a")], is_whole=False)) == 1
    ended = body("overview").replace("RUNNING", "CANCELED")
    assert rows(run(cluster((), changes={"overview": ended}), [])) == {}


def test_job_that_should_be_down_is_not_read():
    asked = cluster("a")
    suspended = Member(JobStatus("a", "suspended", 1, job_id("a"), reasons=("suspended since",)))
    assert rows(run(asked, [suspended])) == {"a": ("suspended", "unknown")}
    assert asked.asked == ["/jobs/overview"]


def test_jobs_at_the_same_offset_share_a_consumer():
    layers = []
    for partition, offset in (("t", 5), ("t", 5), ("t", 6), ("u", 5), ("t", 6)):
        _add_offset(layers, (partition, 0), offset)
    assert layers == [{("t", 0): 5, ("u", 0): 5}, {("t", 0): 6}]


def placed(**ids):
    return {
        job: Placement(phase="running", release=release, flink_job_id=job_id(letter))
        for job, (release, letter) in ids.items()
    }


def switched_over(before, after, cluster, members):
    """The rows of a sweep during which the ledger changes."""
    views = iter((before, after))
    return run(cluster, members, read_ledger=lambda: next(views))


def test_job_switched_over_during_a_sweep_is_neither_failed_nor_duplicate():
    """In the list of jobs the old Flink job has ended, and the new one runs already."""
    before, after = LedgerView(placed(a=(1, "a"))), LedgerView(placed(a=(2, "b")), {"a": "me"})
    running = RecordedCluster({job_id("b"): "a"})
    [found] = switched_over(before, after, running, [member("a")])
    status = found.status
    assert (status.state, status.verdict, status.doubles, found.snapshot) == ("changing", "unknown", (), None)
    assert (status.release, status.flink_job_id) == (2, job_id("b"))
    assert status.reasons == ("its placement was changed during the sweep by an operation of me",)


@pytest.mark.parametrize("in_between", ["b", "c"])
def test_flink_job_started_and_ended_during_a_sweep_is_not_undeclared(in_between):
    before, after = LedgerView(placed(a=(1, "a"))), LedgerView(placed(a=(1, "b")))
    running = RecordedCluster({job_id("a"): "a", job_id(in_between): "a"})
    found = switched_over(before, after, running, [member("a")])
    assert rows(found) == {"a": ("changing", "unknown")}
    assert len(found) == 1


@pytest.mark.parametrize("held_at", ["before", "after"])
def test_job_being_started_is_not_failed(held_at):
    """Its placement is in the ledger before it is submitted."""
    quiet, busy = LedgerView(placed(a=(1, "a"))), LedgerView(placed(a=(1, "a")), {"a": "me"})
    views = (busy, quiet) if held_at == "before" else (quiet, busy)
    [found] = switched_over(*views, cluster(()), [member("a")])
    assert (found.status.state, found.status.verdict) == ("changing", "unknown")
    assert found.status.reasons == ("an operation is in progress, held by me", "Flink does not know the job")


def test_rows_without_operation_in_progress_are_unchanged():
    same = LedgerView(placed(a=(1, "a"), b=(1, "b")), {"a": "me"})
    assert rows(switched_over(same, same, cluster("a"), [member("a"), member("b")])) == {
        "a": ("RUNNING", "degraded"),
        "b": ("gone", "failed"),
    }


def test_replays_that_begin_or_end_during_a_sweep_are_not_undeclared():
    before, after = LedgerView(replays=frozenset({job_id("x")})), LedgerView(replays=frozenset({job_id("y")}))
    assert rows(switched_over(before, after, cluster("xyz"), [])) == {"z": ("undeclared", "unknown")}


@pytest.mark.parametrize(
    ("kind", "row"),
    [
        (DiscrepancyKind.UNSURE, ("unreachable", "unknown")),
        (DiscrepancyKind.OTHER_RELEASE, ("gone", "failed")),
        (None, ("gone", "failed")),
    ],
)
def test_job_missing_from_the_list_is_requested_by_its_id(kind, row):
    asked = []

    def check(member, *, is_listed):
        asked.append((member.status.job, is_listed))
        return Discrepancy(kind, "it may run elsewhere") if kind else None

    found = run(cluster("b"), [member("a"), member("b")], find_discrepancy=check)
    assert asked == [("a", False)]
    assert rows(found)["a"] == row
    assert ("it may run elsewhere" in found[0].status.reasons) is (kind is not None)
