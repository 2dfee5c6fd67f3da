"""From a recorded sweep to what is to be done: each job's need, as the request of an operation."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sluice.errors import SluiceError, UnreachableError
from sluice.fleet.cases import read_cases
from sluice.fleet.decision import Case, Decision, decide
from sluice.fleet.rows import JobStatus
from sluice.operation.run import make_plan
from sluice.plan.request import Request
from sluice.project import Project

Tell = Callable[[str], None]


@dataclass(frozen=True)
class Needed:
    """What a job needs.

    Attributes:
        request: The operation that gives it; None: nothing is to be done, or a person has to look.
        to_ask: The fingerprint of what needs an approval that nobody was asked for yet; None: there is no such thing.
    """

    job: str
    decision: Decision
    request: Request | None = None
    to_ask: str | None = None

    @property
    def words(self) -> str:
        """For a person."""
        return f"{self.job}: {self.decision.need.replace('_', ' ')}: {self.decision.why}"


def find_needs(project: Project, rows: Iterable[JobStatus], tell: Tell, now: datetime | None = None) -> list[Needed]:
    """What the jobs of a sweep need.

    What is to be redeployed is planned first, since only that shows whether it compiles, and whether it needs an
    approval.

    Args:
        project: The project.
        rows: The sweep's, which is recorded already.
        tell: Where the plans' progress goes.
        now: The time; None: now.
    """
    return [_needed(project, case, tell) for case in read_cases(project, rows, now or datetime.now(UTC))]


def _needed(project: Project, case: Case, tell: Tell) -> Needed:
    job, decision = case.status.job, decide(case)
    if decision.need == "redeploy":
        case, decision = _planned(project, case, decision, tell)
    to_ask = case.fingerprint if case.approval and not case.asked else None
    return Needed(job, decision, _request(case.status, decision), to_ask)


def _planned(project: Project, case: Case, wanted: Decision, tell: Tell) -> tuple[Case, Decision]:
    """What is needed when it has been planned; the case with what the plan tells of an approval."""
    job = case.status.job
    try:
        plan = make_plan(project, job, Request(), lambda line: tell(f"{job}: {line}"))
    except UnreachableError as error:
        return case, Decision("nothing", f"{wanted.why}, and could not be planned: {error}")
    except SluiceError as error:
        why = f"{wanted.why}, and can't be deployed: {error}"
        return case, Decision("report", why, cause=f"refused {case.fingerprint}")
    if not plan.needs_approval:
        return case, wanted
    asked = project.ledger.approvals.about(job, plan.fingerprint)
    why = "; ".join(plan.reasons) or "it abandons state"
    case = replace(case, approval=why, asked=asked.words if asked else None)
    return case, decide(case)


def _request(status: JobStatus, decision: Decision) -> Request | None:
    match decision.need:
        case "redeploy":
            return Request()
        case "recover":
            # The release that ran, whatever has changed since: that comes by a redeploy, which may need an approval.
            return Request(kind="rollback", to=decision.release) if status.drift else Request()
        case "roll_back":
            # One that fails all the time can't write a savepoint any more.
            return Request(kind="rollback", mode=None if status.state == "FAILED" else "last-state")
        case _:
            return None
