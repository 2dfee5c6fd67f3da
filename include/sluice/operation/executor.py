"""Execute a plan stage by stage. Each stage writes its intention to the journal before it has an effect.

A retry makes a new plan from the ledger and the cluster, and continues the same operation.
"""

from __future__ import annotations

from itertools import dropwhile, takewhile

from sluice.errors import BusyError, ChangedError, OperationError, RefusedError, UnreachableError
from sluice.ledger.values import Outcome
from sluice.operation.begin import begin, check_approval
from sluice.operation.context import OperationContext
from sluice.operation.start_stage import prepare, record_release, start_job
from sluice.operation.started import Started, read_started
from sluice.operation.stop import StopFailedError
from sluice.operation.stop_stage import stop_job
from sluice.operation.verify import settle_started, verify
from sluice.plan import stages
from sluice.plan.approval import Approval
from sluice.plan.builder import Planned


class Executor:
    """Executes the stages of one plan.

    Args:
        context: The context of the operation, which has not begun. Its compiler is the one that the plan was made with.
        planned: The plan.
        approval: The approval of a plan that loses state; None: there is none.
        note: The reason that was given.

    Attributes:
        outcome: The outcome; `failed` until `Settle` is executed.
        downtime_ms: The measured downtime in milliseconds; None: the job did not stop, or it is not known.
    """

    def __init__(
        self, context: OperationContext, planned: Planned, *, approval: Approval | None = None, note: str | None = None
    ) -> None:
        self._context = context
        self._planned = planned
        self._approval = approval
        self._note = note
        self._started: Started | None = None
        self.outcome = Outcome.FAILED
        self.downtime_ms: int | None = None

    @property
    def started(self) -> Started:
        """The job after the stages before `Verify`."""
        if self._started is None:
            self._started = read_started(self._context.operation, self._context.place, self._planned.plan.action)
        return self._started

    def start(self) -> Started:
        """Begin the operation, and execute the stages before `Verify`; the job.

        Raises:
            RefusedError: an approval is missing, or is of another plan; nothing was changed.
            BusyError: another operation holds the job's lock.
            ChangedError: another operation has changed the job after planning; a new plan may succeed.
            StopFailedError: the old job keeps running.
            SluiceError: another failure; the journal says which stages were done (see `roll_back`).
        """
        plan, context = self._planned.plan, self._context
        check_approval(context, plan, self._approval)
        todo = list(takewhile(_is_before_verify, plan.stages))
        if self._planned.target.number is None:
            # The first stage, `AddRelease`, begins the operation.
            self.run(todo.pop(0))
        else:
            self._begin()
        try:
            for stage in todo:
                self.run(stage)
        except UnreachableError:
            # A later attempt continues from the journal.
            raise
        except RefusedError as error:
            if isinstance(error, BusyError) and not isinstance(error, ChangedError):
                # Another process continues the operation.
                raise
            if context.operation.is_touched:
                # Too late to refuse: the job was stopped, and must be started again.
                raise OperationError(error.message, remedy=error.remedy) from error
            context.operation.finish(Outcome.FAILED, str(error))
            raise
        except StopFailedError as error:
            context.operation.finish(Outcome.FAILED, str(error))
            raise
        return self.started

    def finish(self) -> None:
        """Execute `Verify` and `Settle`, which set `outcome` and `downtime_ms`.

        Raises:
            GatesFailedError: the job does not pass a gate.
            NotSettledError: it has passed, and the operation could not be ended.
            BusyError: another process has taken over the operation.
        """
        for stage in dropwhile(_is_before_verify, self._planned.plan.stages):
            self.run(stage)

    def run(self, stage: stages.Stage) -> None:
        """Execute one stage; the stages of a plan in their order."""
        match stage:
            case stages.AddRelease():
                self._begin()
            case stages.CreateTopics():
                self._create_topics(stage)
            case stages.Prepare():
                prepare(self._context, self._planned)
            case stages.Stop():
                stop_job(self._context, stage, self._planned)
            case stages.Start():
                start_job(self._context, stage, self._planned)
            case stages.Record():
                record_release(self._context)
            case stages.Verify():
                verify(self._context, self.started)
            case stages.Settle():
                self.outcome, self.downtime_ms = settle_started(self._context, self.started)

    def _begin(self) -> None:
        begin(self._context, self._planned, self._approval, self._note)

    def _create_topics(self, stage: stages.CreateTopics) -> None:
        self._context.project.brokers.apply(stage.steps)
        for step in stage.steps:
            self._context.log(step.words)


def _is_before_verify(stage: stages.Stage) -> bool:
    return not isinstance(stage, stages.Verify | stages.Settle)
