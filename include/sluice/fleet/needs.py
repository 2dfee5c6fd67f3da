"""From a recorded sweep to what is to be done: each job's need, as the request of an operation."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from sluice.errors import SluiceError, UnreachableError
from sluice.fleet.cases import read_cases
from sluice.fleet.decision import Case, Decision, approval_cause, decide
from sluice.fleet.rows import JobStatus
from sluice.fleet.standing import IsGone
from sluice.operation.holder import is_gone
from sluice.operation.run import make_plan
from sluice.plan.model import Mode
from sluice.plan.request import Request
from sluice.project import Project

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
        gone: See `sluice.fleet.standing.read_standing`.
        budget: How long it may plan: a job that takes long must not keep the others waiting. What is not begun by then
            is planned first the next time. None: no limit.
    """
    until = None if budget is None else time.monotonic() + budget.total_seconds()
    cases = read_cases(project, rows, now or datetime.now(UTC), gone)
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


def _needed(project: Project, case: Case, decision: Decision, tell: Tell) -> Needed:
    to_ask: Question | None = None
    if decision.need == "roll_back":
        case, decision, to_ask = _planned(project, case, decision, tell)
    if decision.need == "redeploy":
        case, decision, of_new = _planned(project, case, decision, tell)
        if decision.need == "redeploy" or not case.stays:
            # One question at a time, and none where what is desired now may be the remedy.
            to_ask = of_new
    return Needed(case.status.job, decision, _request(case.status, decision), to_ask)


def _planned(project: Project, case: Case, wanted: Decision, tell: Tell) -> tuple[Case, Decision, Question | None]:
    """What is needed when what is wanted has been planned; the case with what the plan tells; what is to be asked."""
    job, request = case.status.job, _request(case.status, wanted) or Request()
    try:
        plan = make_plan(project, job, request, lambda line: tell(f"{job}: {line}"))
    except UnreachableError as error:
        return case, Decision("nothing", f"{wanted.why}, and could not be planned: {error}"), None
    except SluiceError as error:
        if wanted.need == "roll_back":
            case = replace(case, stays=f"it can't go back: {error}", stays_cause=f"can't go back {case.status.release}")
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
        case = replace(case, stays=stays, stays_cause=approval_cause(plan.fingerprint))
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
