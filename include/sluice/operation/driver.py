"""Drive one operation of one job from its plan to its outcome, in the shell and in the tasks of an Airflow run.

    refuse_busy → start → gates: passed, or failed → settle, or roll_back

Only the waiting differs: the shell polls in its own process, Airflow's tasks defer each gate to the triggerer.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import TypeVar

from sluice.errors import ChangedError, RefusedError
from sluice.flink.client import FlinkClient
from sluice.health.gates import Gate
from sluice.ledger.operation_handle import OperationHandle
from sluice.ledger.values import Outcome
from sluice.operation.context import OperationContext
from sluice.operation.executor import Executor
from sluice.operation.holder import is_gone
from sluice.operation.roll_back import RollbackResult, roll_back
from sluice.operation.started import Log, Started
from sluice.operation.verify import record_passed, settle
from sluice.plan.approval import Approval
from sluice.plan.model import Action, Plan
from sluice.plan.planner import Planner
from sluice.plan.request import DeployRequest
from sluice.project import Project
from sluice.release.compiler import Compiler

T = TypeVar("T")


def retry_on_conflict(attempt: Callable[[], T], log: Log) -> T:
    """Plan and start a job. Do both once more if the job has changed after planning: the request may still apply.

    Raises:
        ChangedError: the job has changed a second time.
    """
    try:
        return attempt()
    except ChangedError as error:
        log(f"{error.message}: planning again")
    return attempt()


@dataclass(frozen=True)
class Driver:
    """Drives the operations of one job for one holder.

    Attributes:
        project: The project.
        job: The job's name.
        holder: The holder of the operation. After a crash, the same holder continues its own operation.
        log: Receives progress, one line per call.
        is_gone: Returns whether another holder is known to have ended.
    """

    project: Project
    job: str
    holder: str
    log: Log
    is_gone: Callable[[str], bool] = is_gone

    def refuse_busy(self) -> None:
        """Check the lock before compiling, since beginning the operation would fail later for the same reason.

        Raises:
            BusyError: another holder, which may be alive, holds the job's lock.
        """
        self.project.ledger.refuse_busy(self.job, self.holder, self.is_gone)

    def start(
        self,
        request: DeployRequest,
        flink: FlinkClient,
        compiler: Compiler,
        approval: Callable[[], Approval | None],
        shown: Plan | None = None,
    ) -> Executor:
        """Plan, and execute the stages before `Verify`; the executor of the plan. See `retry_on_conflict`.

        Args:
            request: The request.
            flink: The cluster.
            compiler: The client process.
            approval: Returns the approval, for a plan that needs one.
            shown: The plan that was shown to a person; None: no plan was shown.

        Raises:
            ChangedError: the job has changed a second time.
            SluiceError: see `Executor.start`; also RefusedError: the target differs from the plan that was shown.
        """

        def attempt() -> Executor:
            self.refuse_busy()
            planned = Planner(self.project, self.job, request, flink, compiler, earlier=shown).plan()
            if shown is not None and shown.fingerprint != planned.plan.fingerprint:
                raise RefusedError(
                    f"{self.job}: its code or settings have changed since the plan was made",
                    remedy="trigger the DAG again, and read the new plan",
                )
            context = OperationContext(self.project, self.job, flink, compiler, self.holder, self.log, self.is_gone)
            executor = Executor(context, planned, approval=approval(), note=request.reason)
            executor.start()
            return executor

        return retry_on_conflict(attempt, self.log)

    def has_nothing_to_do(self, plan: Plan) -> bool:
        """Whether the planned release runs and was verified, its topics need no change, and no operation is open."""
        if plan.action != Action.NONE or plan.kind == "suspend" or plan.release is None:
            return False
        ledger = self.project.ledger
        is_proven = ledger.release(self.job, plan.release).healthy_at is not None
        return plan.keeps_topics and is_proven and ledger.active(self.job) is None

    def held(self) -> OperationHandle | None:
        """The unfinished operation of this holder; None: it has none, or has finished it."""
        active = self.project.ledger.active(self.job)
        if active is None or active.holder != self.holder:
            return None
        return self.project.ledger.resume(active.id)

    def passed(self, gate: Gate, started: Started) -> None:
        """Record the result of a passed gate."""
        record_passed(self.project, self.job, gate, started)

    def failed(self, stage: str, reason: str) -> None:
        """Journal why the operation failed, for the task that rolls it back."""
        operation = self.held()
        if operation is not None:
            operation.record(stage, "failed", reason=reason)

    def settle(self, started: Started) -> tuple[Outcome, int | None] | None:
        """Finish the operation; its outcome and the downtime in ms. None: this holder no longer holds it."""
        operation = self.held()
        if operation is None:
            return None
        with self.project.connect() as flink:
            return settle(self.project, flink, operation, started, self.log)

    def roll_back(self, otherwise: str, flink: FlinkClient | None = None) -> RollbackResult | None:
        """Roll back the unfinished operation of this holder; None: it has none, or has finished it.

        Args:
            otherwise: The reason to use if the journal has none.
            flink: An open client of the cluster; None: open one for this call.
        """
        operation = self.held()
        if operation is None:
            return None
        failure = operation.entry("verify", "failed") or operation.entry("switch_over", "failed") or {}
        reason = str(failure.get("reason", otherwise))
        with nullcontext(flink) if flink else self.project.connect() as client:
            compiler = self.project.compiler(self.job, self.log)
            context = OperationContext(self.project, self.job, client, compiler, self.holder, self.log, begun=operation)
            return roll_back(context, reason)
