"""Decisions, case by case."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from sluice.fleet.decision import MIN_FLAP_WINDOW, DecisionInput, PastOperation, decide, rolled_back_fingerprints
from sluice.fleet.rows import JobStatus

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=3)
JUST_NOW = NOW - MIN_FLAP_WINDOW / 2
WELL = JobStatus("a", "RUNNING", 4, "a" * 32, verdict="healthy", drift=False, phase="running")
CASE = DecisionInput(WELL, NOW, fingerprint="f4", healthy_at=LONG_AGO, has_previous=True)


def row(**changes):
    return replace(WELL, **changes)


def minutes(count):
    return timedelta(minutes=count)


def done(ago, outcome="failed", kind="deploy", release=4, previous=3, took=1, **more):
    """An operation that began so many minutes ago."""
    began = NOW - minutes(ago)
    given = {"fingerprint": f"f{release}", "previous_fingerprint": f"f{previous}", "reason": None, **more}
    return PastOperation(kind, outcome, release, started_at=began, ended_at=began + minutes(took), **given)


def recovery(ago, outcome="failed", **more):
    """An operation that recovers the job."""
    return done(ago, outcome, action="recover", **more)


GONE = row(state="gone", verdict="failed", reasons=("Flink does not know the job",))
LOOPS = row(verdict="failed", reasons=("restarted 9 times",), own_fault=True)
HAS_FAILED = replace(GONE, state="FAILED", own_fault=True)
WITHOUT_SLOTS = ("org.apache.flink.runtime.jobmanager.scheduler.NoResourceAvailableException",)
DRIFTS = row(drift=True)
NEW = {"status": DRIFTS, "fingerprint": "f5"}
NEW_RELEASE = {"healthy_at": JUST_NOW}
TWO_SWEEPS = {"failed_before": True}
ROLLBACK_BLOCKED = {
    **NEW_RELEASE,
    "rollback_blocked": "rolling back needs an approval: x",
    "rollback_blocked_cause": "approval f3",
}

CASES = {
    # Healthy.
    "healthy": ({}, "nothing", "it runs as it should"),
    "idle": ({"status": row(verdict="idle")}, "nothing", "it runs as it should"),
    "degraded": ({"status": row(verdict="degraded")}, "nothing", "it runs, degraded"),
    "not known": (
        {"status": row(verdict="unknown", reasons=("Kafka at b:1 does not answer", "its metrics are stale"))},
        "nothing",
        "it could not be judged: Kafka at b:1 does not answer; its metrics are stale",
    ),
    # For a person.
    "undeclared": (
        {"status": JobStatus("z", "undeclared", reasons=("no file declares it",))},
        "report",
        "no file declares it",
    ),
    "duplicate": ({"status": JobStatus("a", "duplicate", reasons=("not the one",))}, "report", "not the one"),
    "runs twice": ({"status": row(verdict="failed", doubles=("b" * 32,), reasons=("twice",))}, "report", "twice"),
    "runs twice, its own gone": ({"status": replace(GONE, doubles=("b" * 32,))}, "report", "Flink does not"),
    "broken file": ({"status": row(state="broken", verdict="failed", reasons=("x.py:1",))}, "report", "x.py:1"),
    "removed file": (
        {"status": row(state="removed", reasons=("its file was removed",))},
        "report",
        "its file was removed",
    ),
    "removed and suspended": ({"status": row(state="removed", phase="suspended")}, "nothing", "removed"),
    "being suspended": (
        {
            "status": row(
                state="suspending", phase="suspending", verdict="unknown", drift=True, reasons=("since 12:00",)
            )
        },
        "suspend",
        "its suspension did not finish: since 12:00",
    ),
    "disabled and being suspended": (
        {"status": row(state="suspending"), "enabled": False},
        "suspend",
        "its suspension did not finish",
    ),
    "not suspended after six attempts": (
        {
            "status": row(state="suspending", verdict="unknown", reasons=("since 12:00",)),
            "operations": [done(60 * ago, kind="suspend", action="suspend") for ago in range(1, 7)],
        },
        "report",
        "given up after 6 tries",
    ),
    # Left as they are.
    "suspended": (
        {"status": row(state="suspended", phase="suspended", drift=True, reasons=("suspended since",))},
        "nothing",
        "suspended since",
    ),
    "never deployed": ({"status": JobStatus("a", "not deployed")}, "nothing", "not deployed"),
    "unreachable": (
        {"status": row(state="unreachable", verdict="unknown", reasons=("no answer",), drift=True)},
        "nothing",
        "it could not be read: no answer",
    ),
    "operation in progress": ({"status": GONE, "holder": "me"}, "nothing", "an operation is in progress, held by me"),
    "disabled, and runs": (
        {"enabled": False},
        "report",
        "it is disabled in the deployment file, but runs",
    ),
    "disabled, and gone": ({"status": GONE, "enabled": False}, "nothing", "it is disabled"),
    # Down.
    "gone": ({"status": GONE}, "recover", "it should be running, but is gone"),
    "gone with a new release": (
        {"status": GONE, **NEW_RELEASE},
        "recover",
        "it should be running, but is gone",
    ),
    "cancelled by hand": (
        {"status": replace(GONE, state="CANCELED")},
        "recover",
        "it should be running, but is CANCELED",
    ),
    "finished": (
        {"status": replace(GONE, state="FINISHED")},
        "recover",
        "it should be running, but is FINISHED",
    ),
    "failed for good": (
        {"status": replace(GONE, state="FAILED")},
        "recover",
        "it should be running, but is FAILED",
    ),
    "new and failed for good": (
        {"status": HAS_FAILED, **NEW_RELEASE},
        "roll_back",
        "its new release has failed",
    ),
    "new and failed for good, but not by its own fault": (
        {"status": replace(HAS_FAILED, own_fault=False), **NEW_RELEASE},
        "recover",
        "it should be running, but is FAILED",
    ),
    "new and failed for good, without a previous one": (
        {"status": HAS_FAILED, **NEW_RELEASE, "has_previous": False},
        "recover",
        "it should be running, but is FAILED",
    ),
    "stopped by an operation whose holder has ended": (
        {"status": row(state="stopped", phase="stopped", verdict="unknown")},
        "recover",
        "it should be running, but is stopped",
    ),
    "gone and drifted": ({"status": replace(GONE, drift=True), "fingerprint": "f5"}, "recover", "it should be running"),
    # Running, and failing.
    "fails for the first time": (
        {"status": LOOPS, **NEW_RELEASE},
        "nothing",
        "failed for the first time in this sweep",
    ),
    "a new release fails": (
        {"status": LOOPS, **NEW_RELEASE, **TWO_SWEEPS},
        "roll_back",
        "its new release fails",
    ),
    "a new release fails, but not by its own fault": (
        {"status": replace(LOOPS, own_fault=False, reasons=WITHOUT_SLOTS), **NEW_RELEASE, **TWO_SWEEPS},
        "report",
        "it fails, but not by its own code or state: org.apache.flink",
    ),
    "a release that passed its gates between the last two hourly sweeps fails": (
        {"status": LOOPS, "healthy_at": NOW - minutes(100), "flap_window": minutes(120), **TWO_SWEEPS},
        "roll_back",
        "its new release fails",
    ),
    "a release that was never healthy fails": (
        {"status": LOOPS, "healthy_at": None, **TWO_SWEEPS},
        "roll_back",
        "its new release fails: restarted 9 times",
    ),
    "a new release fails, without a previous one": (
        {"status": LOOPS, **NEW_RELEASE, **TWO_SWEEPS, "has_previous": False},
        "report",
        "it fails, but its release is not new",
    ),
    "a new release fails, and can't be rolled back automatically": (
        {"status": LOOPS, **ROLLBACK_BLOCKED, **TWO_SWEEPS},
        "report",
        "its new release fails: restarted 9 times; rolling back needs an approval: x",
    ),
    "a new release fails, can't be rolled back automatically, and a new one is desired": (
        {"status": replace(LOOPS, drift=True), "fingerprint": "f5", **ROLLBACK_BLOCKED, **TWO_SWEEPS},
        "redeploy",
        "it differs from release 4",
    ),
    "a new release fails, can't be rolled back automatically, and that needs an approval too": (
        {"status": replace(LOOPS, drift=True), "fingerprint": "f5", "approval": "y", **ROLLBACK_BLOCKED, **TWO_SWEEPS},
        "report",
        "its new release fails: restarted 9 times; rolling back needs an approval: x",
    ),
    # The job does not stay down while an approval waits for its answer.
    "new and failed for good, and can't be rolled back automatically": (
        {"status": HAS_FAILED, **ROLLBACK_BLOCKED},
        "recover",
        "it should be running, but is FAILED: Flink does not know the job; rolling back needs an approval: x",
    ),
    "new and failed for good, can't be rolled back automatically, with an attempt a minute ago": (
        {"status": HAS_FAILED, **ROLLBACK_BLOCKED, "operations": [recovery(2, reason="no slots")]},
        "nothing",
        "recover is tried again at 12:01:00 UTC",
    ),
    "an old release fails": ({"status": LOOPS, **TWO_SWEEPS}, "report", "it fails, but its release is not new"),
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
        "the desired state needs an approval",
    ),
    "drifted to what was rolled back automatically": (
        {**NEW, "operations": [done(900, "rolled_back", release=5, previous=4)]},
        "nothing",
        "it differs from the desired state, which was rolled back: release 5 at 2025-12-31 21:00 UTC",
    ),
    "drifted to what a person rolled back": (
        {**NEW, "operations": [done(900, "healthy", "rollback", release=4, previous=5)]},
        "nothing",
        "it differs from the desired state, which was rolled back: to release 4",
    ),
    "drifted to something newer than what was rolled back": (
        {"status": DRIFTS, "fingerprint": "f6", "operations": [done(900, "rolled_back", release=5, previous=4)]},
        "redeploy",
        "it differs from release 4",
    ),
    "drifted to what was rolled back and then deployed by hand": (
        {
            **NEW,
            "operations": [
                done(60, "healthy", release=6, previous=5),
                done(90, "healthy", release=5, previous=4),
                done(900, "rolled_back", release=5, previous=4),
            ],
        },
        "redeploy",
        "it differs",
    ),
    # Delays between attempts.
    "attempt a minute ago": (
        {"status": GONE, "operations": [recovery(2, reason="no slots")]},
        "nothing",
        "recover is tried again at 12:01:00 UTC, after 1 of 6 tries: no slots",
    ),
    "attempt a minute ago that could not be planned": (
        {"status": GONE, "operations": [done(2, reason="its state is gone")]},
        "nothing",
        "recover is tried again at 12:01:00 UTC, after 1 of 6 tries: its state is gone",
    ),
    "attempts at a redeploy and a rollback": (
        {"status": GONE, "operations": [done(2, release=5), done(9, "rolled_back", release=4, action="redeploy")]},
        "recover",
        "it should be running",
    ),
    "attempt four minutes ago": ({"status": GONE, "operations": [recovery(4)]}, "recover", "it should be running"),
    "two attempts": (
        {"status": GONE, "operations": [recovery(4), recovery(9)]},
        "nothing",
        "recover is tried again at 12:01",
    ),
    "recovered, and gone again": (
        {"status": GONE, "operations": [recovery(3, "healthy"), recovery(9, "healthy")]},
        "nothing",
        "recover is tried again at 12:02:00 UTC, after 2 of 6 tries: the last one ended as healthy",
    ),
    "recovered, and gone again much later": (
        {"status": GONE, "operations": [recovery(45, "healthy"), recovery(50), recovery(55), recovery(60)]},
        "recover",
        "it should be running",
    ),
    "recovered, and gone again at the next hourly sweep": (
        {"status": GONE, "flap_window": minutes(120), "operations": [recovery(55 * n, "healthy") for n in range(1, 7)]},
        "report",
        "given up after 6 tries",
    ),
    "too many attempts": (
        {"status": GONE, "operations": [recovery(100 * n, reason="no slots") for n in range(1, 7)]},
        "report",
        "given up after 6 tries since 2026-01-01 02:00 UTC: it should be running, but is gone: Flink does not know "
        "the job; no slots; fix the cause and deploy it by hand",
    ),
    "too many attempts, a day ago": (
        {"status": GONE, "operations": [recovery(1_500 + 60 * n) for n in range(6)]},
        "recover",
        "it should be running",
    ),
    "changed by people repeatedly, and gone": (
        {"status": GONE, "operations": [done(1 + 2 * n, "healthy", release=9 - n) for n in range(6)]},
        "recover",
        "it should be running",
    ),
    "failed redeploys": (
        {**NEW, "operations": [done(2, release=5)]},
        "nothing",
        "redeploy is tried again",
    ),
    "failed redeploys of another state": (
        {**NEW, "operations": [done(2, release=9)]},
        "redeploy",
        "it differs",
    ),
    "deployed and changed again by people repeatedly": (
        {
            **NEW,
            "operations": [
                *(done(1 + 2 * n, "healthy", release=5) for n in range(6)),
                *(done(15 + 2 * n, "unchanged", release=5) for n in range(6)),
            ],
        },
        "redeploy",
        "it differs",
    ),
    "suspended and resumed by people": (
        {**NEW, "operations": [done(2, "healthy", "resume", release=5), done(4, "suspended", "suspend", release=5)]},
        "redeploy",
        "it differs",
    ),
    "redeployed by the sweep, and undone": (
        {**NEW, "operations": [done(2, "healthy", release=5, is_by_sweep=True), done(9, "healthy", release=5)]},
        "nothing",
        "redeploy is tried again at 12:01:00 UTC, after 1 of 6 tries: the last one ended as healthy",
    ),
    "redeployed by the sweep, and undone repeatedly": (
        {**NEW, "operations": [done(1 + 4 * n, "healthy", release=5, is_by_sweep=True) for n in range(6)]},
        "report",
        "given up after 6 tries",
    ),
    "failed rollbacks": (
        {"status": LOOPS, **NEW_RELEASE, **TWO_SWEEPS, "operations": [done(2, kind="rollback", release=3)]},
        "nothing",
        "roll_back is tried again",
    ),
}


@pytest.mark.parametrize(("changes", "need", "why"), CASES.values(), ids=CASES)
def test_decision_for_a_job_and_its_operations(changes, need, why):
    decision = decide(replace(CASE, **changes))
    assert decision.need == need
    assert decision.why.startswith(why)
    # A need that the verdict doesn't show has a cause, by which it is reported once.
    assert (decision.cause is not None) == (
        why.startswith(("given up", "the desired state needs", "it is disabled in the deployment file, but"))
        or ("rollback_blocked" in changes and need != "redeploy")
    )
    # A recovery does not deploy a change: the release that ran starts again first.
    assert decision.release == (4 if need == "recover" else None)


def test_delay_between_attempts_doubles_up_to_an_hour():
    waits = []
    for count in range(1, 6):
        operations = [recovery(1 + number) for number in range(count)]
        why = decide(replace(CASE, status=GONE, operations=operations)).why
        at = datetime.strptime(why.split(" at ")[1][:8], "%H:%M:%S").replace(tzinfo=UTC)
        waits.append((at.hour - 12) * 60 + at.minute)
    assert waits == [2, 4, 8, 16, 32]


def test_suspension_neither_blocks_nor_unblocks_a_fingerprint():
    operations = [done(5, "suspended", "suspend", release=5, previous=5), done(9, "rolled_back", release=5)]
    assert set(rolled_back_fingerprints(operations)) == {"f5"}


def test_rollback_to_a_blocked_fingerprint_unblocks_it():
    assert set(
        rolled_back_fingerprints(
            [done(5, "healthy", "rollback", release=5, previous=4), done(9, "rolled_back", release=5)]
        )
    ) == {"f4"}
