"""What a job needs, from its status and its operations, with guards against flapping. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from functools import partial

from sluice.fleet.rows import CHANGING, JobStatus
from sluice.ledger.values import Outcome, Phase

MAX_ATTEMPTS = 6
"""After so many attempts in a row that failed, or did not last, the sweep reports the job to a person."""
_FIRST_DELAY = timedelta(minutes=2)
"""The delay after the first attempt; each further attempt doubles it."""
_MAX_DELAY = timedelta(hours=1)
MIN_FLAP_WINDOW = timedelta(minutes=30)
"""An operation whose result lasted longer than the flap window succeeded. Infrequent sweeps lengthen the window."""
_ATTEMPTS_COUNT_FOR = timedelta(days=1)
"""After this time a failed attempt no longer counts, so that the sweep tries again after it has given up."""
SWEEP_NOTE = "redeploy_and_verify: "
"""The notes of operations that the sweep started begin with this."""
_SUCCEEDED = tuple(outcome for outcome in Outcome if outcome.is_success)


@dataclass(frozen=True)
class PastOperation:
    """An operation of the ledger, reduced to what decisions depend on.

    Attributes:
        kind: deploy, rollback, suspend or resume.
        outcome: healthy, unchanged, recorded, suspended, rolled_back, failed or abandoned; None: it is in progress.
        release: The release that it should have started.
        fingerprint: The fingerprint of that release.
        previous_fingerprint: The fingerprint of the release that ran before; None: no release did.
        reason: Why it failed.
        action: The action of its plan: redeploy, recover, start, record, suspend or none; None: it has no plan.
        is_by_sweep: The sweep started it.
    """

    kind: str
    outcome: str | None
    release: int
    fingerprint: str | None
    previous_fingerprint: str | None
    started_at: datetime
    ended_at: datetime | None
    reason: str | None = None
    action: str | None = None
    is_by_sweep: bool = False


def rolled_back_fingerprints(operations: Sequence[PastOperation]) -> dict[str | None, str]:
    """The fingerprints that were rolled back, by a person or by Sluice, each with the release and the time.

    A later successful deploy of a fingerprint removes it.

    Args:
        operations: Newest first.
    """
    blocked: dict[str | None, str] = {}
    for operation in reversed(operations):
        when = f"{operation.started_at:%Y-%m-%d %H:%M} UTC"
        if operation.outcome == Outcome.ROLLED_BACK:
            blocked[operation.fingerprint] = f"release {operation.release} at {when}"
        elif operation.outcome in _SUCCEEDED and operation.kind == "rollback":
            if operation.previous_fingerprint != operation.fingerprint:
                blocked[operation.previous_fingerprint] = f"to release {operation.release} at {when}"
            blocked.pop(operation.fingerprint, None)
        elif operation.outcome in _SUCCEEDED and operation.kind != "suspend":
            blocked.pop(operation.fingerprint, None)
    blocked.pop(None, None)
    return blocked


def recent_attempts(
    operations: Sequence[PastOperation], now: datetime, flap_window: timedelta, counts: Callable[[PastOperation], bool]
) -> list[PastOperation]:
    """The operations since the last success that failed or did not last; newest first.

    Args:
        operations: Newest first.
        now: The time.
        flap_window: The result of an operation that lasted longer counts as a success.
        counts: Returns whether an operation was an attempt at what the job needs now.
    """
    attempts: list[PastOperation] = []
    until = now
    for operation in operations:
        if operation.ended_at is None:
            continue
        if operation.started_at < now - _ATTEMPTS_COUNT_FOR:
            break
        lasted = until - operation.ended_at
        if operation.outcome in _SUCCEEDED and lasted >= flap_window:
            break
        until = operation.started_at
        if counts(operation):
            attempts.append(operation)
    return attempts


def next_attempt_at(attempts: Sequence[PastOperation]) -> datetime:
    """When the next attempt may begin: two minutes after the last one, then four, eight and so on, up to an hour.

    Args:
        attempts: Newest first; at least one.
    """
    wait = _FIRST_DELAY
    for _ in attempts[1:]:
        wait = min(2 * wait, _MAX_DELAY)
    return (attempts[0].ended_at or attempts[0].started_at) + wait


class Need(StrEnum):
    """What a job needs; the values are in the database and in XComs."""

    NOTHING = "nothing"
    """The job is in its desired state, or its next attempt is not due yet."""
    REDEPLOY = "redeploy"
    """It differs from the desired state."""
    RECOVER = "recover"
    """It should be running and isn't; it starts from its newest retained checkpoint."""
    ROLL_BACK = "roll_back"
    """Its new release fails or stalls because of its own code or state, and there is a previous release."""
    SUSPEND = "suspend"
    """The operation that suspended it ended before the suspension was complete."""
    REPORT = "report"
    """A person has to act."""


_ENDED = ("gone", "FAILED", "CANCELED", "FINISHED")
_UNMANAGED = ("undeclared", "duplicate")


@dataclass(frozen=True)
class DecisionInput:
    """The inputs of a job's decision.

    Attributes:
        status: The job's row of the sweep.
        now: The time.
        enabled: The deployment file enables the job.
        fingerprint: The fingerprint of its desired state; None: it has none, or its file or settings are broken.
        healthy_at: When its release passed its gates; None: never.
        has_previous: There is a healthy release before the running one.
        failed_before: The sweep before also found the same Flink job failed.
        flap_window: A release that passed its gates less than this time ago may be the cause of a failure.
        operations: The job's operations, newest first.
        holder: The holder of its operation in progress; None: there is none.
        has_changed: Its placement has changed since the sweep read it.
        approval: Why a redeploy would need an approval; None: it needs none, or that isn't known yet.
        approval_status: The state of the request for that approval; None: there is no request.
        rollback_blocked: Why it can't be rolled back automatically; None: it can, or that isn't known yet.
        rollback_blocked_cause: The `Decision.cause` for that; None: there is none.
    """

    status: JobStatus
    now: datetime
    enabled: bool = True
    fingerprint: str | None = None
    healthy_at: datetime | None = None
    has_previous: bool = False
    failed_before: bool = False
    flap_window: timedelta = MIN_FLAP_WINDOW
    operations: Sequence[PastOperation] = ()
    holder: str | None = None
    has_changed: bool = False
    approval: str | None = None
    approval_status: str | None = None
    rollback_blocked: str | None = None
    rollback_blocked_cause: str | None = None


@dataclass(frozen=True)
class Decision:
    """What a job needs, and why.

    Attributes:
        need: What it needs.
        why: One line for a person.
        release: For `recover`, the release to start again.
        cause: Identifies a problem that needs a person and that the verdict doesn't show. It stays the same as long as
            the problem does, so that notifiers are called once. None: there is none, or the verdict shows it.
    """

    need: Need
    why: str
    release: int | None = None
    cause: str | None = None


def decide(case: DecisionInput) -> Decision:
    """What the job needs: the first check that applies decides.

    Jobs that aren't in the ledger or run twice need a person. Jobs with an operation in progress, jobs that should be
    down and jobs that could not be read need nothing. Then failures are checked, then drift.
    """
    return (
        _needs_person(case)
        or _not_actionable(case)
        or _suspending(case)
        or _disabled(case)
        or _down(case)
        or _failed(case)
        or _has_drifted(case)
        or Decision(Need.NOTHING, _running(case.status))
    )


def approval_cause(fingerprint: str | None) -> str:
    """The cause of the report that a desired state needs an approval."""
    return f"approval {fingerprint}"


def _running(status: JobStatus) -> str:
    match status.verdict:
        case "degraded":
            return "it runs, degraded"
        case "unknown":
            return f"it could not be judged: {_reasons(status)}"
        case _:
            return "it runs as it should"


def _needs_person(case: DecisionInput) -> Decision | None:
    status = case.status
    if status.state in _UNMANAGED or status.doubles:
        return Decision(Need.REPORT, _reasons(status))
    if status.state == "broken" or (status.state == "removed" and status.phase != Phase.SUSPENDED):
        return Decision(Need.REPORT, _reasons(status))
    return None


def _not_actionable(case: DecisionInput) -> Decision | None:
    status = case.status
    if case.holder:
        return Decision(Need.NOTHING, f"an operation is in progress, held by {case.holder}")
    if case.has_changed or status.state == CHANGING:
        return Decision(Need.NOTHING, "its placement changed during the sweep: the next sweep reads it again")
    if status.state in ("suspended", "removed", "not deployed", "disabled"):
        return Decision(Need.NOTHING, _reasons(status) or status.state)
    if status.state == "unreachable":
        return Decision(Need.NOTHING, f"it could not be read: {_reasons(status)}")
    return None


def _suspending(case: DecisionInput) -> Decision | None:
    if case.status.state != "suspending":
        return None
    return _with_backoff(case, Decision(Need.SUSPEND, f"its suspension did not finish: {_reasons(case.status)}"))


def _disabled(case: DecisionInput) -> Decision | None:
    if case.enabled:
        return None
    why = "it is disabled in the deployment file"
    if case.status.state in (*_ENDED, "stopped"):
        return Decision(Need.NOTHING, why)
    return Decision(Need.REPORT, f"{why}, but runs; run: sluice suspend {case.status.job}", cause="disabled")


def _down(case: DecisionInput) -> Decision | None:
    status = case.status
    if status.state not in (*_ENDED, "stopped", "stopping"):
        return None
    if status.state == "FAILED" and _can_roll_back(case):
        return _with_backoff(case, Decision(Need.ROLL_BACK, f"its new release has failed: {_reasons(status)}"))
    why = f"it should be running, but is {status.state}: {_reasons(status)}"
    if case.rollback_blocked:
        why = f"{why}; {case.rollback_blocked}"
    # The release that ran starts again. A change since then may need an approval: a later redeploy applies it.
    return _with_backoff(case, Decision(Need.RECOVER, why, release=status.release, cause=case.rollback_blocked_cause))


def _failed(case: DecisionInput) -> Decision | None:
    status = case.status
    if status.verdict != "failed":
        return None
    if not case.failed_before:
        return Decision(Need.NOTHING, f"failed for the first time in this sweep: {_reasons(status)}")
    if _can_roll_back(case):
        return _with_backoff(case, Decision(Need.ROLL_BACK, f"its new release fails: {_reasons(status)}"))
    new = _has_drifted(case)
    if new is not None and new.need == Need.REDEPLOY:
        # The desired state may repair it.
        return new
    if case.rollback_blocked:
        why = f"its new release fails: {_reasons(status)}; {case.rollback_blocked}"
        return Decision(Need.REPORT, why, cause=case.rollback_blocked_cause)
    cause = "not by its own code or state" if _is_fresh(case) and not status.own_fault else "its release is not new"
    return Decision(Need.REPORT, f"it fails, but {cause}: {_reasons(status)}")


def _has_drifted(case: DecisionInput) -> Decision | None:
    status = case.status
    if not status.drift:
        return None
    blocked = rolled_back_fingerprints(case.operations)
    if case.fingerprint in blocked:
        why = f"it differs from the desired state, which was rolled back: {blocked[case.fingerprint]}"
        return Decision(Need.NOTHING, why)
    if case.approval:
        next_step = case.approval_status or "deploy it by hand, and approve the plan"
        why = f"the desired state needs an approval: {case.approval}; {next_step}"
        return Decision(Need.REPORT, why, cause=approval_cause(case.fingerprint))
    why = f"it differs from release {status.release}"
    return _with_backoff(case, Decision(Need.REDEPLOY, why))


def _is_fresh(case: DecisionInput) -> bool:
    return case.healthy_at is None or case.now - case.healthy_at < case.flap_window


def _can_roll_back(case: DecisionInput) -> bool:
    """Whether a rollback may help: only if the job's own code or state failed, since an outage fails any release."""
    return case.status.own_fault and _is_fresh(case) and case.has_previous and case.rollback_blocked is None


def _is_attempt_at(wanted: Decision, case: DecisionInput, operation: PastOperation) -> bool:
    """Whether an operation was an attempt at the wanted decision."""
    # An operation that failed before its plan was made has no action: its release shows its purpose.
    is_unplanned = operation.outcome == Outcome.FAILED and operation.action is None
    recovers = operation.action == "recover" or (is_unplanned and operation.release == case.status.release)
    match wanted.need:
        case Need.RECOVER:
            return recovers
        case Need.SUSPEND:
            return operation.kind == "suspend"
        case Need.ROLL_BACK:
            return operation.kind == "rollback" and not recovers
        case _:
            # What people deployed, and changed again since, was no failed attempt. That a sweep's own redeploys don't
            # last shows that something undoes them, such as the sweep of another host that has other files.
            is_failed = operation.outcome not in _SUCCEEDED or operation.is_by_sweep
            is_of_state = operation.kind == "deploy" and operation.fingerprint == case.fingerprint
            return is_of_state and is_failed and not recovers


def _with_backoff(case: DecisionInput, wanted: Decision) -> Decision:
    """The wanted decision; after failed attempts, nothing until the next one is due, and at the limit a report."""
    attempts = recent_attempts(case.operations, case.now, case.flap_window, partial(_is_attempt_at, wanted, case))
    if not attempts:
        return wanted
    last = attempts[0].reason or f"the last one ended as {attempts[0].outcome}"
    if len(attempts) >= MAX_ATTEMPTS:
        since = f"{attempts[-1].started_at:%Y-%m-%d %H:%M} UTC"
        why = (
            f"given up after {len(attempts)} tries since {since}: {wanted.why}; {last}; fix the cause and deploy it by "
            "hand"
        )
        what = f" {case.fingerprint}" if wanted.need == Need.REDEPLOY else ""
        return Decision(Need.REPORT, why, cause=f"given up: {wanted.need}{what}")
    moment = next_attempt_at(attempts)
    if case.now < moment:
        count = f"{len(attempts)} of {MAX_ATTEMPTS} tries"
        why = f"{wanted.need} is tried again at {moment:%H:%M:%S} UTC, after {count}: {last}"
        return Decision(Need.NOTHING, why, cause=wanted.cause)
    return wanted


def _reasons(status: JobStatus) -> str:
    return "; ".join(status.reasons)
