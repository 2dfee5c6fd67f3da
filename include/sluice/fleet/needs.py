"""From a recorded sweep to the operations that it asks for."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import groupby, pairwise

from sluice.errors import SluiceError, UnreachableError
from sluice.fleet.decision import SHORT, Decision, DecisionInput, PastOperation, approval_cause, blocked, decide
from sluice.fleet.reconcile import IsGone, holds, moved
from sluice.fleet.rows import JobStatus
from sluice.ledger.samples import SweepObservation
from sluice.ledger.tables import Operation, Release
from sluice.operation.holder import is_gone
from sluice.operation.run import make_plan
from sluice.plan.model import Mode
from sluice.plan.request import Request
from sluice.plan.target import healthy_before
from sluice.project import Project
from sluice.release.fingerprint import fingerprint

_OPERATIONS = 200
"""Of a job; as far back as a roll-back is remembered."""
_LOOKS = 12
"""Of a job; enough for three runs, each of which looks again where something was done."""


def read_decision_inputs(
    project: Project, rows: Iterable[JobStatus], now: datetime, gone: IsGone = is_gone
) -> list[DecisionInput]:
    """The cases of a sweep that is recorded already; of a job that is well, nothing more is read.

    Args:
        project: The project.
        rows: The sweep's.
        now: The time.
        gone: See `read_ledger_view`.
    """
    return [_case(project, row, now, gone) for row in rows]


def _case(project: Project, row: JobStatus, now: datetime, gone: IsGone) -> DecisionInput:
    is_known = row.phase is not None and row.state not in ("undeclared", "duplicate")
    if not is_known or (row.verdict in ("healthy", "idle") and not row.drift):
        return DecisionInput(row, now, enabled=_is_enabled(project, row.job))
    ledger = project.ledger
    releases = {release.number: release for release in ledger.releases(row.job)}
    running = releases.get(row.release or 0)
    active = ledger.active(row.job)
    runs = _by_run(ledger.samples.sweep_observations(row.job, _LOOKS))
    operations = [
        _past(operation, releases)
        for operation in ledger.operations(row.job, _OPERATIONS)
        # A savepoint changes nothing, and is no try at anything.
        if operation.kind != "savepoint"
    ]
    return DecisionInput(
        status=row,
        now=now,
        moved=moved(row, ledger.placement(row.job)),
        enabled=_is_enabled(project, row.job),
        fingerprint=_desired(project, row.job, running, operations),
        healthy_at=running.healthy_at if running else None,
        has_former=healthy_before(releases.values(), row.release or 0) is not None,
        failed_before=_failed_before(runs, row),
        short=_short(runs),
        operations=operations,
        holder=active.holder if active and holds(active, now, gone) else None,
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
        # What was rolled back before an upgrade stays so under the newer Sluice, until it is deployed by hand.
        return fingerprint(root, desired, {*known, *filter(None, blocked(operations))})
    except SluiceError:
        # Its row says what is wrong.
        return None


def _by_run(looks: Iterable[SweepObservation]) -> list[list[SweepObservation]]:
    """The looks of each run of redeploy_and_verify, all newest first."""
    return [list(taken) for _, taken in groupby(looks, lambda look: look.run)]


def _failed_before(runs: Sequence[Sequence[SweepObservation]], row: JobStatus) -> bool:
    """Whether the run before this one of redeploy_and_verify found the same Flink job failed, however long ago.

    What a person looks at, and a second look of one run, are no proof that it has failed for long.
    """
    before = [taken[0] for taken in runs[1:2]]
    return any(look.verdict == "failed" and look.flink_job_id == row.flink_job_id for look in before)


def _short(runs: Sequence[Sequence[SweepObservation]]) -> timedelta:
    """Within what time a job is still seen at most twice, where the runs are far apart.

    Of the last two times between runs the shorter one counts: after a pause nothing has become young again.
    """
    began = [taken[-1].at for taken in runs[:3]]
    between = [later - earlier for later, earlier in pairwise(began)]
    return max(SHORT, 2 * min(between)) if len(between) > 1 else SHORT


def _past(operation: Operation, releases: dict[int, Release]) -> PastOperation:
    target, former = releases.get(operation.release), releases.get(operation.former_release or 0)
    plan = operation.plan or {}
    return PastOperation(
        kind=operation.kind,
        outcome=operation.outcome,
        release=operation.release,
        # What came to nothing before its release was entered has it of its own.
        fingerprint=plan.get("fingerprint") or (target.fingerprint if target else None),
        former_fingerprint=former.fingerprint if former else None,
        started_at=operation.started_at,
        ended_at=operation.ended_at,
        reason=operation.reason,
        action=plan.get("action"),
    )


Tell = Callable[[str], None]
_PLANNED = ("redeploy", "roll_back")
"""What is planned before it is done: that takes seconds for each job, up to minutes for one that hangs."""
_UNPLANNED = ("run", "unplanned")
"""The listener and the subject of the ledger's record of jobs for whose plan a sweep had no time."""


@dataclass(frozen=True)
class Question:
    """What a person is to be asked to approve.

    Attributes:
        fingerprint: Of the plan's target.
        request: The operation that is planned, and asks.
    """

    fingerprint: str
    request: Request


@dataclass(frozen=True)
class Needed:
    """What a job needs.

    Attributes:
        request: The operation that gives it; None: nothing is to be done, or a person has to look.
        to_ask: What needs an approval that nobody was asked for yet; None: there is no such thing.
    """

    job: str
    decision: Decision
    request: Request | None = None
    to_ask: Question | None = None

    @property
    def words(self) -> str:
        """For a person."""
        return f"{self.job}: {self.decision.need.replace('_', ' ')}: {self.decision.why}"


def find_needs(
    project: Project,
    rows: Iterable[JobStatus],
    tell: Tell,
    now: datetime | None = None,
    gone: IsGone = is_gone,
    budget: timedelta | None = None,
) -> list[Needed]:
    """What the jobs of a sweep need.

    What is to be redeployed, or to go back, is planned first, since only that shows whether it compiles, and whether it
    needs an approval.

    Args:
        project: The project.
        rows: The sweep's, which is recorded already.
        tell: Where the plans' progress goes.
        now: The time; None: now.
        gone: See `sluice.fleet.reconcile.read_ledger_view`.
        budget: How long it may plan: a job that takes long must not keep the others waiting. What is not begun by then
            is planned first the next time. None: no limit.
    """
    until = None if budget is None else time.monotonic() + budget.total_seconds()
    cases = read_decision_inputs(project, rows, now or datetime.now(UTC), gone)
    decisions = [decide(case) for case in cases]
    late = project.ledger.told.known(*_UNPLANNED) if budget is not None else {}
    order = sorted(range(len(cases)), key=lambda number: cases[number].status.job not in late)
    found: dict[int, Needed] = {}
    own = {case.status.job for case in cases}
    unplanned = {job: need for job, need in late.items() if job not in own}
    for number in order:
        case, decision = cases[number], decisions[number]
        if decision.need in _PLANNED and until is not None and time.monotonic() >= until:
            unplanned[case.status.job] = decision.need
            why = f"{decision.why}; not planned yet, since other jobs took the time: the next sweep plans it first"
            found[number] = Needed(case.status.job, Decision("nothing", why))
        else:
            found[number] = _needed(project, case, decision, tell)
    if budget is not None:
        project.ledger.told.keep(*_UNPLANNED, unplanned)
    return [found[number] for number in range(len(cases))]


def _needed(project: Project, case: DecisionInput, decision: Decision, tell: Tell) -> Needed:
    to_ask: Question | None = None
    if decision.need == "roll_back":
        case, decision, to_ask = _planned(project, case, decision, tell)
    if decision.need == "redeploy":
        case, decision, of_new = _planned(project, case, decision, tell)
        if decision.need == "redeploy" or not case.stays:
            # One question at a time, and none where what is desired now may be the remedy.
            to_ask = of_new
    return Needed(case.status.job, decision, _request(case.status, decision), to_ask)


def _planned(
    project: Project, case: DecisionInput, wanted: Decision, tell: Tell
) -> tuple[DecisionInput, Decision, Question | None]:
    """What is needed when what is wanted has been planned; the case with what the plan tells; what is to be asked."""
    job, request = case.status.job, _request(case.status, wanted) or Request()
    try:
        plan = make_plan(project, job, request, lambda line: tell(f"{job}: {line}"))
    except UnreachableError as error:
        return case, Decision("nothing", f"{wanted.why}, and could not be planned: {error}"), None
    except SluiceError as error:
        if wanted.need == "roll_back":
            case = replace(
                case, stays=f"it can't go back: {error}", rollback_blocked_cause=f"can't go back {case.status.release}"
            )
            return case, decide(case), None
        why = f"{wanted.why}, and can't be deployed: {error}"
        return case, Decision("report", why, cause=f"refused {case.fingerprint}"), None
    except Exception as error:  # noqa: BLE001 - whatever is wrong with one job, the others are looked after
        why = f"{wanted.why}, and could not be planned: {type(error).__name__}: {error}"
        return case, Decision("report", why, cause=f"not planned {case.fingerprint}"), None
    if not plan.needs_approval:
        return case, wanted, None
    asked = project.ledger.approvals.about(plan.model_dump(mode="json"))
    to_ask = None if asked else Question(plan.fingerprint, request)
    why, words = plan.why_approval, asked.words if asked else None
    if wanted.need == "roll_back":
        stays = f"going back needs an approval: {why}; {words or 'roll it back by hand, and approve that'}"
        case = replace(case, stays=stays, rollback_blocked_cause=approval_cause(plan.fingerprint))
    else:
        case = replace(case, approval=why, asked=words)
    return case, decide(case), to_ask


def _request(status: JobStatus, decision: Decision) -> Request | None:
    match decision.need:
        case "redeploy":
            return Request()
        case "recover":
            # The release that ran, whatever has changed since: that comes by a redeploy, which may need an approval.
            if not status.drift:
                return Request()
            return Request(kind="rollback", to=decision.release, seen=status.release)
        case "roll_back":
            # One that fails all the time can't write a savepoint any more.
            mode: Mode | None = None if status.state == "FAILED" else "last-state"
            return Request(kind="rollback", mode=mode, seen=status.release)
        case "suspend":
            return Request(kind="suspend", seen=status.release)
        case _:
            return None
