"""A whole deploy, rollback, suspension or resumption as one task, for DAGs of your own.

What costs time to import is imported when a task runs: the DAG processor parses every job.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, NoReturn

from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.assets import job_asset, set_event_extra
from sluice.airflow.base import BACKSTOP, airflow_errors
from sluice.airflow.operators import SwitchOverOperator, go_back, operation_extra, settle_operation, started_of
from sluice.plan.request import DeployRequest

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.plan.model import Kind


def _takes_request(init: Callable[..., None]) -> Callable[..., None]:
    """Show Airflow, which takes no other arguments for `partial` and `expand`, those that become a request."""
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
"""`sluice.health.gates.GATES`, which costs too much to import while DAG files are parsed."""


class DeployOperator(SwitchOverOperator):
    """Bring a job to what is desired, and wait in the triggerer until it is proven; otherwise it goes back.

    The same as deploy.<job>, in one task: a retry goes on where the journal stands. A plan that loses state is refused
    unless it is approved ahead; `deploy_group` asks a person.

    Args:
        kwargs: The parameters of a request (templated) by their names in the trigger form, as `mode`, `reason`, `wake`
            or `allow_state_loss`: see `sluice.plan.request`. `config`: settings of the job over the deployment file's.
            Others: see `SluiceOperator`.
    """

    operation: ClassVar[Kind] = "deploy"
    is_whole = True

    @_takes_request
    def __init__(self, **kwargs: Any) -> None:
        asked, others = DeployRequest.split({**kwargs, "operation": self.operation})
        outlets = [*others.pop("outlets", ()), job_asset(others["job"])]
        super().__init__(plan=None, asked=asked, outlets=outlets, **others)

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
        from sluice.airflow.triggers import GateTrigger  # noqa: PLC0415
        from sluice.health.gates import Gate  # noqa: PLC0415
        from sluice.operation.gate import look  # noqa: PLC0415
        from sluice.operation.gate_order import gate_order  # noqa: PLC0415

        with airflow_errors():
            project, job, deadline = self.project(), started_of(started), float(started["deadline"])
            driver = self.driver(context, project)
            for gate in gates if job.flink_job_id else ():
                order = gate_order(project, self.job, job, (Gate(gate),), self.log.info, deadline=deadline)
                reading = look(order)
                self.log.info("%s: %s", gate, reading.words)
                if reading.hopeless:
                    self._fail(context, started, f"{gate}: {reading.words}")
                if not reading.passed:
                    left = self.hold(context, project, order.deadline)
                    trigger, given = GateTrigger.of(order, **self.where), {"started": started, "gate": gate}
                    self.defer(trigger=trigger, method_name="passed", kwargs=given, timeout=left + BACKSTOP)
                driver.passed(Gate(gate), job)
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
            self.driver(context, self.project()).failed("verify", reason)
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
