"""A whole deploy, rollback, suspension or resumption as one task, for DAGs of your own.

Slow imports are inside functions: the DAG processor imports this module for every job.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.assets import job_asset, set_event_extra
from sluice.airflow.base import BACKSTOP, airflow_errors
from sluice.airflow.operators import SwitchOverOperator, operation_extra, roll_back_run, settle_operation, started_of
from sluice.plan.request import DeployRequest

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.plan.model import Kind


def _takes_request(init: Callable[..., None]) -> Callable[..., None]:
    """Add a request's options to the signature: Airflow accepts no other arguments for `partial` and `expand`."""
    own = list(inspect.signature(init).parameters.values())
    others = [option.param for _, option in DeployRequest.options()]
    named = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None)
        for name in ("config", *others)
        if name != "operation"
    ]
    init.__signature__ = inspect.Signature([own[0], *named, *own[1:]])  # type: ignore[attr-defined]
    return init


_GATES: tuple[str, ...] = ("running", "consumer_lag", "watermark")
"""`sluice.health.gates.GATES`, repeated since that module is slow to import while DAG files are parsed."""


class DeployOperator(SwitchOverOperator):
    """Deploy a job's desired release, and wait in the triggerer until it passes its gates; roll back if it fails.

    The same as deploy.<job>, in one task: a retry continues from the journal. A plan that loses state is refused unless
    it was approved in advance; `deploy_group` asks a person instead.

    Args:
        kwargs: The fields of a request (templated) by their names in the trigger form, e.g. `mode`, `reason`, `wake` or
            `allow_state_loss`: see `sluice.plan.request`. `config`: settings of the job, which replace the deployment
            file's. Others: see `SluiceOperator`.
    """

    operation: ClassVar[Kind] = "deploy"
    is_whole = True

    @_takes_request
    def __init__(self, **kwargs: Any) -> None:
        request_fields, others = DeployRequest.split({**kwargs, "operation": self.operation})
        outlets = [*others.pop("outlets", ()), job_asset(others["job"])]
        super().__init__(plan=None, asked=request_fields, outlets=outlets, **others)

    def execute(self, context: Context) -> dict[str, Any]:
        """The operation, its outcome, the release, the Flink job id and the downtime."""
        with self._rolls_back_on_failure(context):
            return super().execute(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Continue after a wait. If its timeout has elapsed or its trigger has failed, the job is rolled back too."""
        with self._rolls_back_on_failure(context):
            return super().resume_execution(next_method, next_kwargs, context)

    def work(self, context: Context) -> dict[str, Any]:
        """See `execute`; called when the lock is free."""
        return self._check_gates(context, super().work(context), _GATES)

    def passed(self, context: Context, event: dict[str, Any], started: dict[str, Any], gate: str) -> dict[str, Any]:
        """Continue with the trigger's reading of a gate."""
        self.log.info("%s: %s", gate, event["words"])
        if not event["passed"]:
            self._fail(context, started, f"{gate}: {event['words']}")
        return self._check_gates(context, started, _GATES[_GATES.index(gate) + 1 :])

    def _check_gates(self, context: Context, started: dict[str, Any], gates: tuple[str, ...]) -> dict[str, Any]:
        from sluice.airflow.triggers import GateTrigger  # noqa: PLC0415
        from sluice.health.gates import Gate  # noqa: PLC0415
        from sluice.operation.gate import look  # noqa: PLC0415
        from sluice.operation.gate_order import gate_order  # noqa: PLC0415

        with airflow_errors():
            project, job, deadline = self.project(), started_of(started), float(started["deadline"])
            driver = self.driver(context, project)
            for gate in gates if job.flink_job_id else ():
                order = gate_order(project, self.job, job, (Gate(gate),), self.log.info, deadline=deadline)
                reading = look(project, order)
                self.log.info("%s: %s", gate, reading.words)
                if reading.hopeless:
                    self._fail(context, started, f"{gate}: {reading.words}")
                if not reading.passed:
                    left = self.extend_lease(context, project, order.deadline)
                    trigger = GateTrigger(order=order.model_dump(mode="json"), **self.where)
                    arguments = {"started": started, "gate": gate}
                    self.defer(trigger=trigger, method_name="passed", kwargs=arguments, timeout=left + BACKSTOP)
                driver.passed(Gate(gate), job)
            ended = settle_operation(self, context, project, started)
            operation = project.ledger.operation(started["operation"])
        set_event_extra(context, [job_asset(self.job)], operation_extra(operation))
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
            self.driver(context, self.project()).failed("verify", reason)
        raise AirflowFailException(f"{self.job}: release {started['release']}: {reason}")

    @contextmanager
    def _rolls_back_on_failure(self, context: Context) -> Iterator[None]:
        """Roll back what this task has changed when it fails and has no retry left.

        This applies to every exception: otherwise the new release would keep running without having passed its gates.
        """
        try:
            yield
        except Exception as error:
            is_last = context["ti"].try_number > context["ti"].max_tries
            if not (is_last or isinstance(error, AirflowFailException)):
                raise
            with airflow_errors():
                result = roll_back_run(self, context, self.project(), str(error) or type(error).__name__)
            if result is None:
                raise
            raise AirflowFailException(f"{self.job}: {result.words}") from error


class RollBackToOperator(DeployOperator):
    """Run an earlier release from the job's current state: `to_release`, or the last healthy one before."""

    operation = "rollback"


class SuspendOperator(DeployOperator):
    """Stop a job and keep its state until it is resumed; a job that is suspended already stays suspended."""

    operation = "suspend"


class ResumeOperator(DeployOperator):
    """Start a suspended job from the state with which it was stopped, and wait until it passes its gates."""

    operation = "resume"
