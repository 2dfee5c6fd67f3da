"""What each job of a recorded sweep needs, and the operation for it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import groupby, pairwise

from sluice.errors import SluiceError, UnreachableError
from sluice.fleet.decision import (
    MIN_FLAP_WINDOW,
    SWEEP_NOTE,
    Decision,
    DecisionInput,
    Need,
    PastOperation,
    approval_cause,
    decide,
    rolled_back_fingerprints,
)
from sluice.fleet.reconcile import HolderEnded, is_held, placement_changed
from sluice.fleet.rows import JobStatus
from sluice.ledger.samples import SweepObservation
from sluice.ledger.tables import Operation, Release
from sluice.operation.holder import is_gone
from sluice.operation.run import make_plan
from sluice.plan.model import Mode, Plan
from sluice.plan.request import DeployRequest
from sluice.plan.target import healthy_before
from sluice.project import Project
from sluice.release.fingerprint import fingerprint

_OPERATIONS_READ = 200
"""The number of a job's operations that are read; earlier rollbacks have no effect."""
_SWEEPS_READ = 12
"""The number of a job's sweeps that are read: enough for three runs of redeploy_and_verify, with two sweeps each."""


def read_decision_inputs(
    project: Project, rows: Iterable[JobStatus], now: datetime, has_ended: HolderEnded = is_gone
) -> list[DecisionInput]:
    """Read the decision inputs of the jobs of a recorded sweep. A healthy job without drift needs only its row.

    Args:
        project: The project.
        rows: The sweep's rows.
        now: The time.
        has_ended: See `read_ledger_view`.
    """
    return [_decision_input(project, row, now, has_ended) for row in rows]


def _decision_input(project: Project, row: JobStatus, now: datetime, has_ended: HolderEnded) -> DecisionInput:
    is_known = row.phase is not None and row.state not in ("undeclared", "duplicate")
    if not is_known or (row.verdict in ("healthy", "idle") and not row.drift):
        return DecisionInput(row, now, enabled=_is_enabled(project, row.job))
    ledger = project.ledger
    releases = {release.number: release for release in ledger.releases(row.job)}
    running = releases.get(row.release or 0)
    active = ledger.active(row.job)
    runs = _by_run(ledger.samples.sweep_observations(row.job, _SWEEPS_READ))
    operations = [
        _past(operation, releases)
        for operation in ledger.operations(row.job, _OPERATIONS_READ)
        # A savepoint changes nothing, so it is not an attempt.
        if operation.kind != "savepoint"
    ]
    return DecisionInput(
        status=row,
        now=now,
        has_changed=placement_changed(row, ledger.placement(row.job)),
        enabled=_is_enabled(project, row.job),
        fingerprint=_desired(project, row.job, running, operations),
        healthy_at=running.healthy_at if running else None,
        has_previous=healthy_before(releases.values(), row.release or 0) is not None,
        failed_before=_failed_before(runs, row),
        flap_window=_flap_window(runs),
        operations=operations,
        holder=active.holder if active and is_held(active, now, has_ended) else None,
    )


def _is_enabled(project: Project, job: str) -> bool:
    section = project.content.jobs.get(job)
    return section is None or section.enabled


def _desired(project: Project, job: str, running: Release | None, operations: Sequence[PastOperation]) -> str | None:
    known = {running.fingerprint} if running else set()
    root = project.settings.root
    try:
        desired = project.desired(job, running.overrides if running else None)
        found = fingerprint(root, desired, known)
        if any(each.fingerprint == found for each in operations):
            return found
        # A rollback before an upgrade of Sluice still counts afterwards, until a person deploys the job.
        return fingerprint(root, desired, {*known, *filter(None, rolled_back_fingerprints(operations))})
    except SluiceError:
        # The job's row has the error.
        return None


def _by_run(observations: Iterable[SweepObservation]) -> list[list[SweepObservation]]:
    """The observations of each run of redeploy_and_verify, newest first."""
    return [list(group) for _, group in groupby(observations, lambda observation: observation.run)]


def _failed_before(runs: Sequence[Sequence[SweepObservation]], row: JobStatus) -> bool:
    """Whether the previous run of redeploy_and_verify found the same Flink job failed, no matter how long ago.

    Sweeps by a person and the second sweep of a run don't count: they may be seconds apart.
    """
    before = [observations[0] for observations in runs[1:2]]
    return any(seen.verdict == "failed" and seen.flink_job_id == row.flink_job_id for seen in before)


def _flap_window(runs: Sequence[Sequence[SweepObservation]]) -> timedelta:
    """The flap window: long enough for two runs of redeploy_and_verify to check a job.

    The shorter of the last two intervals counts, so that a pause between runs doesn't lengthen the window.
    """
    began = [observations[-1].at for observations in runs[:3]]
    between = [later - earlier for later, earlier in pairwise(began)]
    return max(MIN_FLAP_WINDOW, 2 * min(between)) if len(between) > 1 else MIN_FLAP_WINDOW


def _past(operation: Operation, releases: dict[int, Release]) -> PastOperation:
    target, previous = releases.get(operation.release), releases.get(operation.former_release or 0)
    plan = operation.plan or {}
    return PastOperation(
        kind=operation.kind,
        outcome=operation.outcome,
        release=operation.release,
        # An operation that failed before its release was recorded has the fingerprint in its plan.
        fingerprint=plan.get("fingerprint") or (target.fingerprint if target else None),
        previous_fingerprint=previous.fingerprint if previous else None,
        started_at=operation.started_at,
        ended_at=operation.ended_at,
        reason=operation.reason,
        action=plan.get("action"),
        is_by_sweep=(operation.note or "").startswith(SWEEP_NOTE),
    )


Log = Callable[[str], None]
"""Takes a progress message."""
MakePlan = Callable[[Project, str, DeployRequest, Log], Plan]
"""Makes the plan of an operation; see `sluice.operation.run.make_plan`."""
_PLANNED = (Need.REDEPLOY, Need.ROLL_BACK)
"""The needs for which the sweep makes a plan. That takes seconds for each job, and minutes for one that hangs."""
_UNPLANNED = ("run", "unplanned")
"""Notifier and subject under which the ledger records the jobs for whose plans a sweep had no time."""


@dataclass(frozen=True)
class ApprovalRequest:
    """A request for a person's approval of a plan.

    Attributes:
        fingerprint: The fingerprint of the plan's target.
        request: The operation that asks for the approval.
    """

    fingerprint: str
    request: DeployRequest


@dataclass(frozen=True)
class Needed:
    """What a job needs, with the operation for it.

    Attributes:
        job: The job's name.
        decision: What it needs, and why.
        request: The operation; None: the job needs nothing, or a person.
        approval_request: An approval that the job needs and no run has requested yet; None: there is none.
    """

    job: str
    decision: Decision
    request: DeployRequest | None = None
    approval_request: ApprovalRequest | None = None

    @property
    def words(self) -> str:
        """One line for a person."""
        return f"{self.job}: {self.decision.need.replace('_', ' ')}: {self.decision.why}"


def find_needs(
    project: Project,
    rows: Iterable[JobStatus],
    log: Log,
    now: datetime | None = None,
    has_ended: HolderEnded = is_gone,
    budget: timedelta | None = None,
) -> list[Needed]:
    """Find what the jobs of a sweep need.

    Redeploys and rollbacks are planned first: the plan shows whether the release compiles and needs an approval.

    Args:
        project: The project.
        rows: The rows of a sweep that is recorded.
        log: Takes the plans' progress messages.
        now: The time; None: now.
        has_ended: See `sluice.fleet.reconcile.read_ledger_view`.
        budget: The time for making plans. The next sweep starts with the jobs that are left over, so that a slow job
            does not delay the others forever. None: no limit.
    """
    cases = read_decision_inputs(project, rows, now or project.clock.now(), has_ended)
    return plan_needs(project, cases, log, budget=budget)


def plan_needs(
    project: Project,
    cases: Sequence[DecisionInput],
    log: Log,
    *,
    budget: timedelta | None = None,
    make_plan: MakePlan = make_plan,
) -> list[Needed]:
    """Find what the jobs with these inputs need; see `find_needs`.

    Args:
        project: The project.
        cases: The decision inputs.
        log: Takes the plans' progress messages.
        budget: The time for making plans; None: no limit.
        make_plan: Makes the plan of an operation.
    """
    until = None if budget is None else project.clock.monotonic() + budget.total_seconds()
    decisions = [decide(case) for case in cases]
    late = project.ledger.notifications.known(*_UNPLANNED) if budget is not None else {}
    order = sorted(range(len(cases)), key=lambda number: cases[number].status.job not in late)
    found: dict[int, Needed] = {}
    own = {case.status.job for case in cases}
    unplanned = {job: need for job, need in late.items() if job not in own}
    for number in order:
        case, decision = cases[number], decisions[number]
        if decision.need in _PLANNED and until is not None and project.clock.monotonic() >= until:
            unplanned[case.status.job] = str(decision.need)
            why = (
                f"{decision.why}; not planned yet: planning other jobs took the sweep's whole time, and the next sweep "
                "plans it first"
            )
            found[number] = Needed(case.status.job, Decision(Need.NOTHING, why))
        else:
            found[number] = _needed(project, case, decision, log, make_plan)
    if budget is not None:
        project.ledger.notifications.keep(*_UNPLANNED, unplanned)
    return [found[number] for number in range(len(cases))]


def _needed(project: Project, case: DecisionInput, decision: Decision, log: Log, make_plan: MakePlan) -> Needed:
    approval_request: ApprovalRequest | None = None
    if decision.need == Need.ROLL_BACK:
        case, decision, approval_request = _planned(project, case, decision, log, make_plan)
    if decision.need == Need.REDEPLOY:
        case, decision, of_new = _planned(project, case, decision, log, make_plan)
        if decision.need == Need.REDEPLOY or not case.rollback_blocked:
            # Only one approval is requested at a time, and none for a rollback if the desired state may repair the job.
            approval_request = of_new
    return Needed(case.status.job, decision, _request(case.status, decision), approval_request)


def _planned(
    project: Project, case: DecisionInput, wanted: Decision, log: Log, make_plan: MakePlan
) -> tuple[DecisionInput, Decision, ApprovalRequest | None]:
    """Plan the wanted operation; the input with the plan's results, the decision, and the approval to request."""
    job, request = case.status.job, _request(case.status, wanted) or DeployRequest()
    try:
        plan = make_plan(project, job, request, lambda line: log(f"{job}: {line}"))
    except UnreachableError as error:
        return case, Decision(Need.NOTHING, f"{wanted.why}, and could not be planned: {error}"), None
    except SluiceError as error:
        if wanted.need == Need.ROLL_BACK:
            case = replace(
                case,
                rollback_blocked=f"it can't be rolled back: {error}",
                rollback_blocked_cause=f"can't go back {case.status.release}",
            )
            return case, decide(case), None
        why = f"{wanted.why}, and can't be deployed: {error}"
        return case, Decision(Need.REPORT, why, cause=f"refused {case.fingerprint}"), None
    except Exception as error:  # noqa: BLE001 - one job's error must not keep the others from being planned
        why = f"{wanted.why}, and could not be planned: {type(error).__name__}: {error}"
        return case, Decision(Need.REPORT, why, cause=f"not planned {case.fingerprint}"), None
    if not plan.needs_approval:
        return case, wanted, None
    known = project.ledger.approvals.about(plan.model_dump(mode="json"))
    approval_request = None if known else ApprovalRequest(plan.fingerprint, request)
    why, words = plan.why_approval, known.words if known else None
    if wanted.need == Need.ROLL_BACK:
        next_step = words or "roll it back by hand, and approve the plan"
        blocked = f"rolling back needs an approval: {why}; {next_step}"
        case = replace(case, rollback_blocked=blocked, rollback_blocked_cause=approval_cause(plan.fingerprint))
    else:
        case = replace(case, approval=why, approval_status=words)
    return case, decide(case), approval_request


def _request(status: JobStatus, decision: Decision) -> DeployRequest | None:
    match decision.need:
        case Need.REDEPLOY:
            return DeployRequest()
        case Need.RECOVER:
            # The release that ran starts again. A later redeploy, which may need an approval, applies changes since.
            if not status.drift:
                return DeployRequest()
            return DeployRequest(kind="rollback", target_release=decision.release, expected_release=status.release)
        case Need.ROLL_BACK:
            # A job that keeps failing can't write a savepoint.
            mode: Mode | None = None if status.state == "FAILED" else Mode.LAST_STATE
            return DeployRequest(kind="rollback", mode=mode, expected_release=status.release)
        case Need.SUSPEND:
            return DeployRequest(kind="suspend", expected_release=status.release)
        case _:
            return None
