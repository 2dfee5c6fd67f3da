"""Run a whole operation in one process, as the shell does: plan, stages, gates, and a rollback if they fail."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from sluice.errors import BusyError, OperationError, RefusedError, SluiceError
from sluice.flink.client import FlinkClient
from sluice.ledger.values import Outcome, Phase
from sluice.operation.driver import Driver
from sluice.operation.executor import Executor
from sluice.operation.holder import is_gone
from sluice.operation.started import Log, Started
from sluice.operation.verify import GatesFailedError
from sluice.plan.approval import Approval
from sluice.plan.model import Plan
from sluice.plan.planner import Planner
from sluice.plan.request import DeployRequest
from sluice.project import Project
from sluice.release.compiler import Compiler


@dataclass(frozen=True)
class Result:
    """The result of an operation.

    Attributes:
        error: Why the operation did not succeed; None: it did.
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
    log: Log = lambda _line: None,
    *,
    compiles_always: bool = True,
) -> Plan:
    """Make the plan without executing it.

    With `compiles_always=False`, a first start and a restart of an unchanged release aren't compiled for the plan.

    Raises:
        RefusedError: the request can't be fulfilled.
        UnreachableError: the cluster or the broker doesn't answer.
    """
    with project.connect() as flink, project.compiler(job, log) as compiler:
        planner = Planner(project, job, request, flink, compiler, compiles_always=compiles_always)
        return planner.plan().plan


def run_operation(
    project: Project,
    job: str,
    request: DeployRequest,
    holder: str,
    log: Log = lambda _line: None,
    *,
    compiler: Compiler | None = None,
    is_gone: Callable[[str], bool] = is_gone,
) -> Result:
    """Run the whole operation. A failure of the job is returned in the result, not raised.

    Args:
        project: The project.
        job: The job's name.
        request: The request.
        holder: The holder of the operation.
        log: Receives progress.
        compiler: A client that was started early; closed here. None: start one when it is needed.
        is_gone: Returns whether another holder of the job is known to have ended.
    """
    driver = Driver(project, job, holder, log, is_gone)
    with project.connect() as flink, compiler or project.compiler(job, log) as client:
        approved = Approval(holder, project.clock.now()) if request.allow_state_loss else None
        try:
            executor = driver.start(request, flink, client, lambda: approved)
        except SluiceError as error:
            return _failed_to_start(driver, flink, error)
        return _finish(driver, flink, executor)


def _failed_to_start(driver: Driver, flink: FlinkClient, error: SluiceError) -> Result:
    job, operation = driver.job, driver.held()
    if operation is None or isinstance(error, BusyError):
        return Result(job, Outcome.FAILED, error=_cause(driver, error))
    if not operation.is_touched:
        operation.finish(Outcome.FAILED, str(error))
        return Result(job, Outcome.FAILED, operation.id, error=error)
    return _roll_back(driver, operation.id, flink, error)


def _cause(driver: Driver, error: SluiceError) -> SluiceError:
    """The cause of a failure: another holder that has begun since then explains any other error."""
    try:
        driver.refuse_busy()
    except BusyError as busy:
        return busy
    job, place = driver.job, driver.project.ledger.placement(driver.job)
    if isinstance(error, RefusedError) and place is not None and place.phase == Phase.STOPPED:
        down = f"{error.message}; {job} is down: the process of an earlier operation ended after it had stopped the job"
        back = f"sluice resume {job} starts release {place.release} again, from the state that it stopped with"
        return type(error)(down, remedy=f"{error.remedy}; {back}" if error.remedy else back)
    return error


def _roll_back(driver: Driver, operation: str, flink: FlinkClient, error: SluiceError) -> Result:
    job = driver.job
    try:
        back = driver.roll_back(str(error), flink)
    except SluiceError as worse:
        words = f"{error}; it could not be rolled back yet: {worse}"
        return Result(
            job, Outcome.FAILED, operation, error=OperationError(words, remedy=f"run sluice deploy {job} again")
        )
    if back is None:
        return Result(job, Outcome.FAILED, operation, error=error)
    failure = OperationError(f"{job}: {back.words}", remedy="see sluice history and the Flink UI")
    return Result(job, back.outcome, operation, flink_job_id=back.flink_job_id, error=failure)


def _finish(driver: Driver, flink: FlinkClient, executor: Executor) -> Result:
    """Execute the last stages of the plan, `Verify` and `Settle`; roll back if the job does not pass its gates."""
    job, started = driver.job, executor.started
    result = Result(
        job,
        Outcome.FAILED,
        started.operation,
        started.release,
        started.flink_job_id,
        started.savepoint,
        started.restored_from,
    )
    try:
        try:
            executor.finish()
        except GatesFailedError as error:
            return _gates_failed(driver, flink, started, result, error)
    except SluiceError as error:
        return replace(result, error=error)
    return replace(result, outcome=executor.outcome, downtime_ms=executor.downtime_ms)


def _gates_failed(
    driver: Driver, flink: FlinkClient, started: Started, result: Result, error: GatesFailedError
) -> Result:
    operation = driver.project.ledger.resume(started.operation)
    is_proven = operation.row.former_release in (None, started.release)
    if started.recorded or (started.unchanged and is_proven):
        # The operation changed nothing that could be rolled back.
        operation.finish(Outcome.FAILED, error.message)
        return replace(result, error=OperationError(f"{driver.job}: {error.message}", remedy="see sluice status"))
    return _roll_back(driver, operation.id, flink, OperationError(f"release {started.release}: {error.message}"))
