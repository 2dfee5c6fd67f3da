"""A whole deploy, rollback, suspension or resumption as one task, for DAGs of your own.

What costs time to import is imported when a task runs: the DAG processor parses every job.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.assets import job_asset, set_event_extra
from sluice.airflow.base import BACKSTOP, airflow_errors
from sluice.airflow.gates import gate_trigger
from sluice.airflow.operators import SwitchOverOperator, go_back, operation_extra, settle_operation
from sluice.airflow.params import request_params

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.plan.model import Kind

_GATES: tuple[str, ...] = ("running", "consumer_lag", "watermark")


class DeployOperator(SwitchOverOperator):
    """Bring a job to what is desired, and wait in the triggerer until it is proven; otherwise it goes back.

    The same as deploy.<job>, in one task: a retry goes on where the journal stands. A plan that loses state is refused
    unless it is approved ahead; `deploy_group` asks a person.

    Args:
        config: Settings of the job over the deployment file's (templated).
        allow_state_loss: Approves ahead a plan that loses state.
        wake: Also start a suspended job.
        kwargs: `mode`, `reason`: see `sluice.airflow.params.request_params`; and see `SluiceOperator`.
    """

    operation: ClassVar[Kind] = "deploy"
    is_whole = True

    def __init__(
        self,
        *,
        config: dict[str, Any] | None = None,
        to_release: int | None = None,
        mode: Any = None,
        allow_state_loss: bool = False,
        wake: bool = False,
        reason: str | None = None,
        **kwargs: Any,
    ) -> None:
        asked = request_params(
            self.operation,
            config=config,
            to_release=to_release,
            mode=mode,
            allow_state_loss=allow_state_loss,
            wake=wake,
            reason=reason,
        )
        outlets = [*kwargs.pop("outlets", ()), job_asset(kwargs["job"])]
        super().__init__(plan=None, asked=asked, outlets=outlets, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """The operation, its outcome, the release, the Flink job id and the downtime."""
        with self._taken_back(context):
            return super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a wait; one whose time was over, or whose trigger has failed, is a failure as any other."""
        with self._taken_back(context):
            return super().resume_execution(next_method, next_kwargs, context)

    def work(self, context: Context) -> dict[str, Any]:
        """See `execute`; once it was this task's turn."""
        return self._prove(context, super().work(context), _GATES)

    def passed(self, context: Context, event: dict[str, Any], started: dict[str, Any], gate: str) -> dict[str, Any]:
        """What the trigger has seen at a gate."""
        self.log.info("%s: %s", gate, event["words"])
        if not event["passed"]:
            self._fail(context, started, f"{gate}: {event['words']}")
        return self._prove(context, started, _GATES[_GATES.index(gate) + 1 :])

    def _prove(self, context: Context, started: dict[str, Any], gates: tuple[str, ...]) -> dict[str, Any]:
        from sluice.operation.gate import look  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            for gate in gates if started["flink_job_id"] else ():
                trigger = gate_trigger(project, self.job, gate, started, self.log.info, where=self.where)
                reading = look(trigger.order(project))
                self.log.info("%s: %s", gate, reading.words)
                if reading.hopeless:
                    self._fail(context, started, f"{gate}: {reading.words}")
                if not reading.passed:
                    left = self.hold(context, project, trigger.deadline)
                    given = {"started": started, "gate": gate}
                    self.defer(trigger=trigger, method_name="passed", kwargs=given, timeout=left + BACKSTOP)
                if gate == "running":
                    project.ledger.saw_checkpoint(self.job, started["flink_job_id"])
            ended = settle_operation(self, context, project, started)
            told = project.ledger.operation(started["operation"])
        set_event_extra(context, [job_asset(self.job)], operation_extra(told))
        return {
            "job": self.job,
            "operation": started["operation"],
            "release": started["release"],
            "flink_job_id": started["flink_job_id"],
            "savepoint": started["savepoint"],
            "restored_from": started["restored_from"],
            **ended,
        }

    def _fail(self, context: Context, started: dict[str, Any], reason: str) -> NoReturn:
        with airflow_errors():
            operation = self.held(self.project(), context)
            if operation is not None:
                operation.record("verify", "failed", reason=reason)
        raise AirflowFailException(f"{self.job}: release {started['release']}: {reason}")

    @contextmanager
    def _taken_back(self, context: Context) -> Iterator[None]:
        """What is failed for good is taken back: the former release runs again, where this task has done something.

        Whatever the failure is: a job that nobody proves any more isn't left as it happens to be.
        """
        try:
            yield
        except Exception as error:
            is_last = context["ti"].try_number > context["ti"].max_tries
            if not (is_last or isinstance(error, AirflowFailException)):
                raise
            with airflow_errors():
                back = go_back(self, context, self.project(), str(error) or type(error).__name__)
            if back is None:
                raise
            raise AirflowFailException(f"{self.job}: {back.words}") from error


class RollBackToOperator(DeployOperator):
    """Run a former release again, from the state that the job has now: `to_release`, or the healthy one before."""

    operation = "rollback"


class SuspendOperator(DeployOperator):
    """Stop a job with its state kept, until it is resumed; one that is suspended already stays so."""

    operation = "suspend"


class ResumeOperator(DeployOperator):
    """Start a suspended job from the state that it stopped with, and wait until it is proven."""

    operation = "resume"
