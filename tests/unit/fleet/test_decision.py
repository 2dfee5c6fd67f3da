"""What a job needs, case by case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.fleet.decision import SHORT, DecisionInput, PastOperation, blocked, decide
from sluice.fleet.rows import JobStatus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=3)
JUST_NOW = NOW - SHORT / 2
WELL = JobStatus("a", "RUNNING", 4, "a" * 32, verdict="healthy", drift=False, phase="running")
CASE = DecisionInput(WELL, NOW, fingerprint="f4", healthy_at=LONG_AGO, has_former=True)


def row(**changes):
    return replace(WELL, **changes)


def minutes(count):
    return timedelta(minutes=count)


def done(ago, outcome="failed", kind="deploy", release=4, former=3, took=1, **more):
    """An operation that began so many minutes ago."""
    began = NOW - minutes(ago)
    given = {"fingerprint": f"f{release}", "former_fingerprint": f"f{former}", "reason": None, **more}
    return PastOperation(kind, outcome, release, started_at=began, ended_at=began + minutes(took), **given)


def recovery(ago, outcome="failed", **more):
    """One that was to bring the job back."""
    return done(ago, outcome, action="recover", **more)


GONE = row(state="gone", verdict="failed", reasons=("the cluster does not know the job",))
LOOPS = row(verdict="failed", reasons=("restarted 9 times",), own_fault=True)
HAS_FAILED = replace(GONE, state="FAILED", own_fault=True)
WITHOUT_SLOTS = ("org.apache.flink.runtime.jobmanager.scheduler.NoResourceAvailableException",)
DRIFTS = row(drift=True)
NEW = {"status": DRIFTS, "fingerprint": "f5"}
FRESH_RELEASE = {"healthy_at": JUST_NOW}
TWO_SWEEPS = {"failed_before": True}
STAYS = {**FRESH_RELEASE, "stays": "going back needs an approval: x", "rollback_blocked_cause": "approval f3"}

CASES = {
    # Well.
    "healthy": ({}, "nothing", "it runs as it should"),
    "idle": ({"status": row(verdict="idle")}, "nothing", "it runs as it should"),
    "degraded": ({"status": row(verdict="degraded")}, "nothing", "it runs, degraded"),
    "not known": (
        {"status": row(verdict="unknown", reasons=("Kafka at b:1 does not answer", "its metrics stand still"))},
        "nothing",
        "it could not be judged: Kafka at b:1 does not answer; its metrics stand still",
    ),
    # For people.
    "undeclared": (
        {"status": JobStatus("z", "undeclared", reasons=("nobody declares it",))},
        "report",
        "nobody declares it",
    ),
    "duplicate": ({"status": JobStatus("a", "duplicate", reasons=("not the one",))}, "report", "not the one"),
    "runs twice": ({"status": row(verdict="failed", doubles=("b" * 32,), reasons=("twice",))}, "report", "twice"),
    "runs twice, its own gone": ({"status": replace(GONE, doubles=("b" * 32,))}, "report", "the cluster does not"),
    "broken file": ({"status": row(state="broken", verdict="failed", reasons=("x.py:1",))}, "report", "x.py:1"),
    "removed file": ({"status": row(state="removed", reasons=("its file is gone",))}, "report", "its file is gone"),
    "removed and suspended": ({"status": row(state="removed", phase="suspended")}, "nothing", "removed"),
    "being suspended": (
        {
            "status": row(
                state="suspending", phase="suspending", verdict="unknown", drift=True, reasons=("since 12:00",)
            )
        },
        "suspend",
        "it is to be down: since 12:00",
    ),
    "disabled and being suspended": (
        {"status": row(state="suspending"), "enabled": False},
        "suspend",
        "it is to be down",
    ),
    "suspended by nobody in six tries": (
        {
            "status": row(state="suspending", verdict="unknown", reasons=("since 12:00",)),
            "operations": [done(60 * ago, kind="suspend", action="suspend") for ago in range(1, 7)],
        },
        "report",
        "given up after 6 tries",
    ),
    # Left alone.
    "suspended": (
        {"status": row(state="suspended", phase="suspended", drift=True, reasons=("suspended since",))},
        "nothing",
        "suspended since",
    ),
    "never deployed": ({"status": JobStatus("a", "not deployed")}, "nothing", "not deployed"),
    "unreachable": (
        {"status": row(state="unreachable", verdict="unknown", reasons=("no answer",), drift=True)},
        "nothing",
        "it could not be looked at: no answer",
    ),
    "somebody works on it": ({"status": GONE, "holder": "me"}, "nothing", "an operation goes on, by me"),
    "disabled, and runs": ({"enabled": False}, "report", "it is disabled in the deployment file, and runs"),
    "disabled, and gone": ({"status": GONE, "enabled": False}, "nothing", "it is disabled"),
    # Down.
    "gone": ({"status": GONE}, "recover", "it is to run, and is gone"),
    "gone with a fresh release": ({"status": GONE, **FRESH_RELEASE}, "recover", "it is to run, and is gone"),
    "cancelled by hand": ({"status": replace(GONE, state="CANCELED")}, "recover", "it is to run, and is CANCELED"),
    "finished": ({"status": replace(GONE, state="FINISHED")}, "recover", "it is to run, and is FINISHED"),
    "failed for good": ({"status": replace(GONE, state="FAILED")}, "recover", "it is to run, and is FAILED"),
    "fresh and failed for good": (
        {"status": HAS_FAILED, **FRESH_RELEASE},
        "roll_back",
        "a fresh release has failed",
    ),
    "fresh and failed for good, and not by its own fault": (
        {"status": replace(HAS_FAILED, own_fault=False), **FRESH_RELEASE},
        "recover",
        "it is to run, and is FAILED",
    ),
    "fresh and failed for good, without a former one": (
        {"status": HAS_FAILED, **FRESH_RELEASE, "has_former": False},
        "recover",
        "it is to run, and is FAILED",
    ),
    "stopped by an operation that is gone": (
        {"status": row(state="stopped", phase="stopped", verdict="unknown")},
        "recover",
        "it is to run, and is stopped",
    ),
    "gone and drifted": ({"status": replace(GONE, drift=True), "fingerprint": "f5"}, "recover", "it is to run"),
    # Runs, and fails.
    "fails for the first time": ({"status": LOOPS, **FRESH_RELEASE}, "nothing", "seen failed for the first time"),
    "a fresh release fails": (
        {"status": LOOPS, **FRESH_RELEASE, **TWO_SWEEPS},
        "roll_back",
        "a fresh release has gone",
    ),
    "a fresh release fails, and not by its own fault": (
        {"status": replace(LOOPS, own_fault=False, reasons=WITHOUT_SLOTS), **FRESH_RELEASE, **TWO_SWEEPS},
        "report",
        "it fails, and nothing of its own code or state is the cause: org.apache.flink",
    ),
    "a release that passed its gates between the last two hourly sweeps fails": (
        {"status": LOOPS, "healthy_at": NOW - minutes(100), "short": minutes(120), **TWO_SWEEPS},
        "roll_back",
        "a fresh release has gone",
    ),
    "a release that was never healthy fails": (
        {"status": LOOPS, "healthy_at": None, **TWO_SWEEPS},
        "roll_back",
        "a fresh release has gone bad: restarted 9 times",
    ),
    "a fresh release fails, without a former one": (
        {"status": LOOPS, **FRESH_RELEASE, **TWO_SWEEPS, "has_former": False},
        "report",
        "it fails, and no fresh release",
    ),
    "a fresh release fails, and can't go back by itself": (
        {"status": LOOPS, **STAYS, **TWO_SWEEPS},
        "report",
        "a fresh release has gone bad: restarted 9 times; going back needs an approval: x",
    ),
    "a fresh release fails, can't go back by itself, and a new one is desired": (
        {"status": replace(LOOPS, drift=True), "fingerprint": "f5", **STAYS, **TWO_SWEEPS},
        "redeploy",
        "it differs from release 4",
    ),
    "a fresh release fails, can't go back by itself, and the new one needs an approval too": (
        {"status": replace(LOOPS, drift=True), "fingerprint": "f5", "approval": "y", **STAYS, **TWO_SWEEPS},
        "report",
        "a fresh release has gone bad: restarted 9 times; going back needs an approval: x",
    ),
    # It isn't left down for as long as nobody answers.
    "fresh and failed for good, and can't go back by itself": (
        {"status": HAS_FAILED, **STAYS},
        "recover",
        "it is to run, and is FAILED: the cluster does not know the job; going back needs an approval: x",
    ),
    "fresh and failed for good, can't go back by itself, and a try a minute ago": (
        {"status": HAS_FAILED, **STAYS, "operations": [recovery(2, reason="no slots")]},
        "nothing",
        "recover is tried again at 12:01:00 UTC",
    ),
    "an old release fails": ({"status": LOOPS, **TWO_SWEEPS}, "report", "it fails, and no fresh release is the cause"),
    "an old release fails, and a new one is desired": (
        {"status": replace(LOOPS, drift=True), "fingerprint": "f5", **TWO_SWEEPS},
        "redeploy",
        "it differs from release 4",
    ),
    # Drift.
    "drifted": (NEW, "redeploy", "it differs from release 4"),
    "drifted, and needs an approval": (
        {**NEW, "approval": "state of x"},
        "report",
        "what is desired needs an approval",
    ),
    "drifted to what was rolled back by itself": (
        {**NEW, "operations": [done(900, "rolled_back", release=5, former=4)]},
        "nothing",
        "it differs from what is desired, which was rolled back: release 5 at 2025-12-31 21:00 UTC",
    ),
    "drifted to what a person rolled back": (
        {**NEW, "operations": [done(900, "healthy", "rollback", release=4, former=5)]},
        "nothing",
        "it differs from what is desired, which was rolled back: to release 4",
    ),
    "drifted to something newer than what was rolled back": (
        {"status": DRIFTS, "fingerprint": "f6", "operations": [done(900, "rolled_back", release=5, former=4)]},
        "redeploy",
        "it differs from release 4",
    ),
    "drifted to what was rolled back and then deployed by hand": (
        {
            **NEW,
            "operations": [
                done(60, "healthy", release=6, former=5),
                done(90, "healthy", release=5, former=4),
                done(900, "rolled_back", release=5, former=4),
            ],
        },
        "redeploy",
        "it differs",
    ),
    # Not too often.
    "a try a minute ago": (
        {"status": GONE, "operations": [recovery(2, reason="no slots")]},
        "nothing",
        "recover is tried again at 12:01:00 UTC, after 1 of 6 tries: no slots",
    ),
    "a try a minute ago that could not even be planned": (
        {"status": GONE, "operations": [done(2, reason="its state is gone")]},
        "nothing",
        "recover is tried again at 12:01:00 UTC, after 1 of 6 tries: its state is gone",
    ),
    "one of what had drifted that could not be planned, and a roll-back": (
        {"status": GONE, "operations": [done(2, release=5), done(9, "rolled_back", release=4, action="redeploy")]},
        "recover",
        "it is to run",
    ),
    "a try four minutes ago": ({"status": GONE, "operations": [recovery(4)]}, "recover", "it is to run"),
    "two tries": (
        {"status": GONE, "operations": [recovery(4), recovery(9)]},
        "nothing",
        "recover is tried again at 12:01",
    ),
    "recovered, and gone again": (
        {"status": GONE, "operations": [recovery(3, "healthy"), recovery(9, "healthy")]},
        "nothing",
        "recover is tried again at 12:02:00 UTC, after 2 of 6 tries: the last one ended healthy",
    ),
    "recovered for good, and gone again": (
        {"status": GONE, "operations": [recovery(45, "healthy"), recovery(50), recovery(55), recovery(60)]},
        "recover",
        "it is to run",
    ),
    "recovered, and gone again at the next hourly sweep": (
        {"status": GONE, "short": minutes(120), "operations": [recovery(55 * n, "healthy") for n in range(1, 7)]},
        "report",
        "given up after 6 tries",
    ),
    "too many tries": (
        {"status": GONE, "operations": [recovery(100 * n, reason="no slots") for n in range(1, 7)]},
        "report",
        "given up after 6 tries since 2026-01-01 02:00 UTC: it is to run, and is gone: the cluster does not know the "
        "job; no slots; mend it and deploy it by hand",
    ),
    "too many tries, and a day has passed": (
        {"status": GONE, "operations": [recovery(1_500 + 60 * n) for n in range(6)]},
        "recover",
        "it is to run",
    ),
    "changed by people again and again, and gone": (
        {"status": GONE, "operations": [done(1 + 2 * n, "healthy", release=9 - n) for n in range(6)]},
        "recover",
        "it is to run",
    ),
    "redeploys that come to nothing": (
        {**NEW, "operations": [done(2, release=5)]},
        "nothing",
        "redeploy is tried again",
    ),
    "redeploys of something else that came to nothing": (
        {**NEW, "operations": [done(2, release=9)]},
        "redeploy",
        "it differs",
    ),
    "going back that comes to nothing": (
        {"status": LOOPS, **FRESH_RELEASE, **TWO_SWEEPS, "operations": [done(2, kind="rollback", release=3)]},
        "nothing",
        "roll_back is tried again",
    ),
}


@pytest.mark.parametrize(("changes", "need", "why"), CASES.values(), ids=CASES)
def test_decision(changes, need, why):
    decision = decide(replace(CASE, **changes))
    assert decision.need == need
    assert decision.why.startswith(why)
    # What no verdict tells has something to be told by, once.
    assert (decision.cause is not None) == (
        why.startswith(("given up", "what is desired needs", "it is disabled in the deployment file, and"))
        or ("stays" in changes and need != "redeploy")
    )
    # What has drifted is not started by the way: the release that ran comes back first.
    assert decision.release == (4 if need == "recover" else None)


def test_each_wait_is_twice_as_long_up_to_an_hour():
    waits = []
    for count in range(1, 6):
        operations = [recovery(1 + number) for number in range(count)]
        why = decide(replace(CASE, status=GONE, operations=operations)).why
        at = datetime.strptime(why.split(" at ")[1][:8], "%H:%M:%S").replace(tzinfo=UTC)
        waits.append((at.hour - 12) * 60 + at.minute)
    assert waits == [2, 4, 8, 16, 32]


def test_a_suspension_blocks_and_frees_nothing():
    operations = [done(5, "suspended", "suspend", release=5, former=5), done(9, "rolled_back", release=5)]
    assert set(blocked(operations)) == {"f5"}


def test_rolling_back_to_what_was_rolled_back_frees_that():
    assert set(blocked([done(5, "healthy", "rollback", release=5, former=4), done(9, "rolled_back", release=5)])) == {
        "f4"
    }
