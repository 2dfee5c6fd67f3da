"""What a job needs, from how it is and what was done to it; guards against flapping. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Literal

from sluice.fleet.rows import CHANGING, JobStatus

GIVE_UP_AFTER = 6
"""Tries that came to nothing, or to nothing that lasted."""
_FIRST_WAIT = timedelta(minutes=2)
"""After one try; twice as long after each further one."""
_LONGEST_WAIT = timedelta(hours=1)
SHORT = timedelta(minutes=30)
"""What held longer was no failure; where sweeps are far apart, longer than they take to look twice."""
_REMEMBERED = timedelta(days=1)
"""After which a job that was given up is tried again."""
_GOOD = ("healthy", "unchanged", "recorded", "suspended")


@dataclass(frozen=True)
class PastOperation:
    """An operation of the ledger, as far as it matters here.

    Attributes:
        kind: deploy, rollback, suspend or resume.
        outcome: healthy, unchanged, recorded, suspended, rolled_back, failed or abandoned; None: it goes on.
        action: What it did to the job, as its plan says: redeploy, recover, start, record, suspend or none; None: it
            was never planned.
        release: What it was to run.
        fingerprint: Of that release.
        former_fingerprint: Of what ran before; None: nothing did.
        reason: Why it failed.
    """

    kind: str
    outcome: str | None
    release: int
    fingerprint: str | None
    former_fingerprint: str | None
    started_at: datetime
    ended_at: datetime | None
    reason: str | None = None
    action: str | None = None


def blocked(operations: Sequence[PastOperation]) -> dict[str | None, str]:
    """Fingerprints that were rolled back, by a person or by Sluice, each with when; deploying one by hand lifts that.

    Args:
        operations: Newest first.
    """
    held: dict[str | None, str] = {}
    for operation in reversed(operations):
        when = f"{operation.started_at:%Y-%m-%d %H:%M} UTC"
        if operation.outcome == "rolled_back":
            held[operation.fingerprint] = f"release {operation.release} at {when}"
        elif operation.outcome in _GOOD and operation.kind == "rollback":
            if operation.former_fingerprint != operation.fingerprint:
                held[operation.former_fingerprint] = f"to release {operation.release} at {when}"
            held.pop(operation.fingerprint, None)
        elif operation.outcome in _GOOD and operation.kind != "suspend":
            held.pop(operation.fingerprint, None)
    held.pop(None, None)
    return held


def tries(
    operations: Sequence[PastOperation], now: datetime, short: timedelta, counts: Callable[[PastOperation], bool]
) -> list[PastOperation]:
    """The newest operations that came to nothing, or to nothing that lasted; newest first.

    Args:
        operations: Newest first.
        now: The time.
        short: What held longer was no failure.
        counts: Whether one was a try at what is to be done now: what else was done to the job is none.
    """
    made: list[PastOperation] = []
    until = now
    for operation in operations:
        if operation.ended_at is None:
            continue
        if operation.started_at < now - _REMEMBERED:
            break
        held = until - operation.ended_at
        if operation.outcome in _GOOD and held >= short:
            break
        until = operation.started_at
        if counts(operation):
            made.append(operation)
    return made


def wait_until(made: Sequence[PastOperation]) -> datetime:
    """When the next try may begin: after two minutes, then four, eight, and so on up to an hour.

    Args:
        made: Tries, newest first; at least one.
    """
    wait = _FIRST_WAIT
    for _ in made[1:]:
        wait = min(2 * wait, _LONGEST_WAIT)
    return (made[0].ended_at or made[0].started_at) + wait


Need = Literal["nothing", "redeploy", "recover", "roll_back", "suspend", "report"]
"""nothing: it is as it should be, or it isn't the time yet.
redeploy: it differs from what is desired.
recover: it should run and doesn't; from its newest retained checkpoint.
roll_back: a fresh release fails or stands still by its own code or state, and there is a former one.
suspend: whoever was to suspend it is gone, and has not come to its end.
report: a person has to look."""
_ENDED = ("gone", "FAILED", "CANCELED", "FINISHED")
_STRANGERS = ("undeclared", "duplicate")


@dataclass(frozen=True)
class DecisionInput:
    """All that decides what a job needs.

    Attributes:
        status: The row of the sweep.
        now: The time.
        enabled: The deployment file wants it to run.
        fingerprint: Of what is desired; None: its file or settings are broken, or it has none.
        healthy_at: When its release passed its gates; None: never.
        has_former: There is a healthy release before the one that runs.
        failed_before: The sweep before found the same Flink job failed, too.
        short: For how long after its gates a release may be what is wrong with a job that fails.
        operations: What was done to it, newest first.
        holder: Who is doing something to it now; None: nobody.
        moved: It was changed since it was looked at.
        approval: Why a redeploy would need an approval; None: it needs none, or that isn't known yet.
        asked: What became of asking for that approval; None: nobody was asked.
        stays: Why it can't go back to the former release by itself; None: it can, or that isn't known yet.
        rollback_blocked_cause: The cause of a report of that; None: there is none.
    """

    status: JobStatus
    now: datetime
    enabled: bool = True
    fingerprint: str | None = None
    healthy_at: datetime | None = None
    has_former: bool = False
    failed_before: bool = False
    short: timedelta = SHORT
    operations: Sequence[PastOperation] = ()
    holder: str | None = None
    moved: bool = False
    approval: str | None = None
    asked: str | None = None
    stays: str | None = None
    rollback_blocked_cause: str | None = None


@dataclass(frozen=True)
class Decision:
    """What a job needs.

    Attributes:
        why: In words.
        release: For `recover`, the release that is to run again.
        cause: Of what needs a person and no verdict tells: the same for as long as it is about the same thing, so that
            it is told once; None: there is none, or the verdict tells it.
    """

    need: Need
    why: str
    release: int | None = None
    cause: str | None = None


def decide(case: DecisionInput) -> Decision:
    """What the job needs: the first of what follows that applies.

    A job that isn't the ledger's, or runs twice, is for a person. One that somebody works on, that is meant to be
    down, or that could not be looked at is left alone. Then comes what makes it run, then what makes it right.
    """
    return (
        _left_to_people(case)
        or _left_alone(case)
        or _suspending(case)
        or _disabled(case)
        or _down(case)
        or _failed(case)
        or _drifted(case)
        or Decision("nothing", _as_it_is(case.status))
    )


def approval_cause(fingerprint: str | None) -> str:
    """The cause of a report that something desired needs an approval."""
    return f"approval {fingerprint}"


def _as_it_is(status: JobStatus) -> str:
    match status.verdict:
        case "degraded":
            return "it runs, degraded"
        case "unknown":
            return f"it could not be judged: {_reasons(status)}"
        case _:
            return "it runs as it should"


def _left_to_people(case: DecisionInput) -> Decision | None:
    status = case.status
    if status.state in _STRANGERS or status.doubles:
        return Decision("report", _reasons(status))
    if status.state == "broken" or (status.state == "removed" and status.phase != "suspended"):
        return Decision("report", _reasons(status))
    return None


def _left_alone(case: DecisionInput) -> Decision | None:
    status = case.status
    if case.holder:
        return Decision("nothing", f"an operation goes on, by {case.holder}")
    if case.moved or status.state == CHANGING:
        return Decision("nothing", "it was changed while it was looked at: the next look tells how it is")
    if status.state in ("suspended", "removed", "not deployed", "disabled"):
        return Decision("nothing", _reasons(status) or status.state)
    if status.state == "unreachable":
        return Decision("nothing", f"it could not be looked at: {_reasons(status)}")
    return None


def _suspending(case: DecisionInput) -> Decision | None:
    if case.status.state != "suspending":
        return None
    return _unless_too_often(case, Decision("suspend", f"it is to be down: {_reasons(case.status)}"))


def _disabled(case: DecisionInput) -> Decision | None:
    if case.enabled:
        return None
    why = "it is disabled in the deployment file"
    if case.status.state in (*_ENDED, "stopped"):
        return Decision("nothing", why)
    return Decision("report", f"{why}, and runs: sluice suspend it", cause="disabled")


def _down(case: DecisionInput) -> Decision | None:
    status = case.status
    if status.state not in (*_ENDED, "stopped", "stopping"):
        return None
    if status.state == "FAILED" and _may_go_back(case):
        return _unless_too_often(case, Decision("roll_back", f"a fresh release has failed: {_reasons(status)}"))
    why = f"it is to run, and is {status.state}: {_reasons(status)}"
    if case.stays:
        why = f"{why}; {case.stays}"
    # The release that ran: what has changed since comes later, and may need an approval.
    return _unless_too_often(case, Decision("recover", why, release=status.release, cause=case.rollback_blocked_cause))


def _failed(case: DecisionInput) -> Decision | None:
    status = case.status
    if status.verdict != "failed":
        return None
    if not case.failed_before:
        return Decision("nothing", f"seen failed for the first time: {_reasons(status)}")
    if _may_go_back(case):
        return _unless_too_often(case, Decision("roll_back", f"a fresh release has gone bad: {_reasons(status)}"))
    new = _drifted(case)
    if new is not None and new.need == "redeploy":
        # What is desired now may be the remedy.
        return new
    if case.stays:
        why = f"a fresh release has gone bad: {_reasons(status)}; {case.stays}"
        return Decision("report", why, cause=case.rollback_blocked_cause)
    cause = "nothing of its own code or state" if _is_fresh(case) and not status.own_fault else "no fresh release"
    return Decision("report", f"it fails, and {cause} is the cause: {_reasons(status)}")


def _drifted(case: DecisionInput) -> Decision | None:
    status = case.status
    if not status.drift:
        return None
    held = blocked(case.operations)
    if case.fingerprint in held:
        return Decision("nothing", f"it differs from what is desired, which was rolled back: {held[case.fingerprint]}")
    if case.approval:
        to_do = case.asked or "deploy it by hand, and approve it"
        why = f"what is desired needs an approval: {case.approval}; {to_do}"
        return Decision("report", why, cause=approval_cause(case.fingerprint))
    why = f"it differs from release {status.release}"
    return _unless_too_often(case, Decision("redeploy", why))


def _is_fresh(case: DecisionInput) -> bool:
    return case.healthy_at is None or case.now - case.healthy_at < case.short


def _may_go_back(case: DecisionInput) -> bool:
    """Brokers, networks and a cluster without slots would fail the former release likewise."""
    return case.status.own_fault and _is_fresh(case) and case.has_former and case.stays is None


def _is_try_at(wanted: Decision, case: DecisionInput, operation: PastOperation) -> bool:
    """Whether an operation was meant to do what is wanted now."""
    # What could not even be planned says by its release what it was to be.
    is_unplanned = operation.outcome == "failed" and operation.action is None
    recovers = operation.action == "recover" or (is_unplanned and operation.release == case.status.release)
    match wanted.need:
        case "recover":
            return recovers
        case "suspend":
            return operation.kind == "suspend"
        case "roll_back":
            return operation.kind == "rollback" and not recovers
        case _:
            return operation.fingerprint == case.fingerprint and not recovers


def _unless_too_often(case: DecisionInput, wanted: Decision) -> Decision:
    """What is wanted; or not yet, or not any more, after the tries that came to nothing."""
    made = tries(case.operations, case.now, case.short, partial(_is_try_at, wanted, case))
    if not made:
        return wanted
    last = made[0].reason or f"the last one ended {made[0].outcome}"
    if len(made) >= GIVE_UP_AFTER:
        since = f"{made[-1].started_at:%Y-%m-%d %H:%M} UTC"
        why = f"given up after {len(made)} tries since {since}: {wanted.why}; {last}; mend it and deploy it by hand"
        what = f" {case.fingerprint}" if wanted.need == "redeploy" else ""
        return Decision("report", why, cause=f"given up: {wanted.need}{what}")
    moment = wait_until(made)
    if case.now < moment:
        why = (
            f"{wanted.need} is tried again at {moment:%H:%M:%S} UTC, after {len(made)} of {GIVE_UP_AFTER} tries: {last}"
        )
        return Decision("nothing", why, cause=wanted.cause)
    return wanted


def _reasons(status: JobStatus) -> str:
    return "; ".join(status.reasons)
