"""A whole operation in one process, as the shell does it: plan, stages, gates, and the way back."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from sluice.compiler import Compiler
from sluice.errors import BusyError, OperationError, RefusedError, SluiceError
from sluice.flink.client import FlinkClient
from sluice.operation.driver import Driver
from sluice.operation.holder import is_gone
from sluice.operation.switch_over import Started, Tell, is_touched
from sluice.operation.verify import Outcome, pass_gates, settle
from sluice.plan.approval import Approval
from sluice.plan.model import Plan
from sluice.plan.planner import Planned, Planner
from sluice.plan.request import DeployRequest
from sluice.project import Project


@dataclass(frozen=True)
class Result:
    """How an operation ended.

    Attributes:
        error: Why it isn't what was wanted; None: it is.
    """

    job: str
    outcome: Outcome
    operation: str | None = None
    release: int | None = None
    flink_job_id: str | None = None
    savepoint: str | None = None
    restored_from: str | None = None
    downtime_ms: int | None = None
    error: SluiceError | None = None


def make_plan(
    project: Project,
    job: str,
    request: DeployRequest,
    tell: Tell = lambda _line: None,
    *,
    compiles_always: bool = True,
) -> Plan:
    """The plan alone; nothing is touched.

    `compiles_always=False` leaves a first start, and a job that comes back as it was, to be compiled by the deploy.

    Raises:
        RefusedError: it can't be done.
        UnreachableError: the cluster or the broker doesn't answer.
    """
    with FlinkClient(project.flink) as flink, Compiler(project, job, tell) as compiler:
        planner = Planner(project, job, request, flink, compiler, compiles_always=compiles_always)
        return planner.plan().plan


def run_operation(
    project: Project,
    job: str,
    request: DeployRequest,
    holder: str,
    tell: Tell = lambda _line: None,
    *,
    compiler: Compiler | None = None,
    is_gone: Callable[[str], bool] = is_gone,
) -> Result:
    """Do it all; never raises for what went wrong with the job.

    Args:
        project: The project.
        job: The job's name.
        request: What is asked for.
        holder: Who does it.
        tell: Where progress goes.
        compiler: A client that was started ahead; closed here. None: one is started when it is needed.
        is_gone: Whether another holder of the job is known to have ended.
    """
    driver = Driver(project, job, holder, tell, is_gone)
    with FlinkClient(project.flink) as flink, compiler or Compiler(project, job, tell) as client:
        approved = Approval(holder, datetime.now(UTC)) if request.allow_state_loss else None
        try:
            planned, started = driver.switch_over(request, flink, client, lambda: approved)
        except SluiceError as error:
            return _failed_to_start(driver, flink, error)
        client.close()  # half a gigabyte that nobody needs at the gates
        try:
            return _prove(driver, flink, planned, started)
        except SluiceError as error:
            return Result(job, "failed", started.operation, started.release, started.flink_job_id, error=error)


def _failed_to_start(driver: Driver, flink: FlinkClient, error: SluiceError) -> Result:
    job, operation = driver.job, driver.held()
    if operation is None or isinstance(error, BusyError):
        return Result(job, "failed", error=_cause(driver, error))
    if not is_touched(operation):
        operation.finish("failed", str(error))
        return Result(job, "failed", operation.id, error=error)
    return _take_back(driver, operation.id, flink, error)


def _cause(driver: Driver, error: SluiceError) -> SluiceError:
    """What went wrong; another holder that has begun since explains whatever it seems to be."""
    try:
        driver.refuse_busy()
    except BusyError as busy:
        return busy
    job, place = driver.job, driver.project.ledger.placement(driver.job)
    if isinstance(error, RefusedError) and place is not None and place.phase == "stopped":
        down = f"{error.message}; and {job} is down: an operation that had stopped it has died"
        back = f"sluice resume {job} runs release {place.release} again, from the state that it stopped with"
        return type(error)(down, remedy=f"{error.remedy}; {back}" if error.remedy else back)
    return error


def _take_back(driver: Driver, operation: str, flink: FlinkClient, error: SluiceError) -> Result:
    job = driver.job
    try:
        back = driver.take_back(str(error), flink)
    except SluiceError as worse:
        words = f"{error}; and it could not be taken back yet: {worse}"
        return Result(job, "failed", operation, error=OperationError(words, remedy=f"run sluice deploy {job} again"))
    if back is None:
        return Result(job, "failed", operation, error=error)
    failure = OperationError(f"{job}: {back.words}", remedy="see sluice history and the Flink UI")
    return Result(job, back.outcome, operation, flink_job_id=back.flink_job_id, error=failure)


def _prove(driver: Driver, flink: FlinkClient, planned: Planned, started: Started) -> Result:
    project, job, tell = driver.project, planned.plan.job, driver.log
    operation = project.ledger.resume(started.operation)
    row = Result(
        job,
        "suspended",
        started.operation,
        started.release,
        started.flink_job_id,
        started.savepoint,
        started.restored_from,
    )
    problem = asyncio.run(pass_gates(project, operation, started, tell)) if started.flink_job_id else None
    if problem is None:
        try:
            outcome, downtime = settle(project, flink, operation, started, tell)
        except SluiceError as error:
            return replace(row, outcome="failed", error=_unsettled(job, started, error))
        return replace(row, outcome=outcome, downtime_ms=downtime)
    is_proven = operation.row.former_release in (None, started.release)
    if started.recorded or (started.unchanged and is_proven):
        # Nothing was done that could be taken back.
        operation.finish("failed", problem)
        return replace(row, outcome="failed", error=OperationError(f"{job}: {problem}", remedy="see sluice status"))
    return _take_back(driver, operation.id, flink, OperationError(f"release {started.release}: {problem}"))


def _unsettled(job: str, started: Started, error: SluiceError) -> OperationError:
    """All is done but the operation's end: whoever comes next proves the job again, and settles it."""
    stands = "it runs and has passed its gates" if started.flink_job_id else "it is suspended"
    return OperationError(
        f"{job}: {stands}, but the operation could not be settled: {error}",
        remedy=f"run sluice {'deploy' if started.flink_job_id else 'suspend'} {job} again, which settles it",
    )
