"""Base classes of the operators: the project, the holder of a job's lock, and which errors Airflow retries.

Slow imports are inside functions: the DAG processor imports this module for every job.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowFailException

from sluice.airflow.holders import is_over, is_run, run_of
from sluice.airflow.projects import project_of
from sluice.errors import BusyError, FlinkError, RefusedError, SluiceError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.ledger.operation_handle import OperationHandle
    from sluice.operation.driver import Driver
    from sluice.plan.model import Plan
    from sluice.plan.request import DeployRequest
    from sluice.project import Project


RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": True}
"""The operators' defaults if a DAG sets no `retries`. A retry continues from the journal.

Airflow marks a task as failed ("state mismatch") if its scheduler is slower than the task's trigger: it then learns
that the task was deferred only when the task is queued again. The job does not cause such a failure.
"""
BACKSTOP = timedelta(minutes=2)
"""How long after a trigger's own deadline Airflow's timeout ends the wait."""
_LONGEST = timedelta(days=7)
"""How long a task may wait for the job's lock."""


class ProjectOperator(BaseOperator):
    """Base of the operators.

    Args:
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
        kwargs: Airflow's own arguments; without `retries` there, or among the DAG's `default_args`, those of `RETRIES`.
    """

    ui_color = "#e8f4f8"

    def __init__(self, *, root: str | None = None, environment: str | None = None, **kwargs: Any) -> None:
        if has_no_retries(kwargs):
            given = {**(kwargs.get("default_args") or {}), **kwargs}
            kwargs.update({name: value for name, value in RETRIES.items() if name not in given})
        super().__init__(**kwargs)
        self.root = root
        self.environment = environment

    def project(self) -> Project:
        """The project; see `project_of`."""
        return project_of(self.root, self.environment)

    @property
    def where(self) -> dict[str, str | None]:
        """The arguments by which a trigger finds the project in the triggerer's process."""
        return {"root": self.root, "environment": self.environment}


def has_no_retries(kwargs: Mapping[str, Any]) -> bool:
    """Whether neither an operator's arguments nor its DAG's `default_args` set `retries`."""
    return "retries" not in {**(kwargs.get("default_args") or {}), **kwargs}


def is_retry(context: Context) -> bool:
    """Whether this is a retry, and not the first try after the task was cleared.

    Clearing a task sets `max_tries` to the tries so far plus the operator's `retries`; `try_number` counts on.
    """
    ti = context["ti"]
    return bool(ti.try_number > ti.max_tries - (context["task"].retries or 0) + 1)


class SluiceOperator(ProjectOperator):
    """Base of the operators that work on one job.

    Attributes:
        is_whole: The operator performs a whole operation by itself; False: the tasks of its group share one.

    Args:
        job: The job's name.
        kwargs: See `ProjectOperator`.
    """

    is_whole: ClassVar[bool] = False

    def __init__(self, *, job: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job

    def holder(self, context: Context) -> str:
        """The holder of the operation: this task or its group, in this DAG run. A retry has the same holder.

        Two tasks or groups of one run that work on the same job are different holders, and wait for each other.
        """
        group = self.task_group.group_id if self.task_group else None
        part = (self.task_id if self.is_whole else group) or ""
        index = context["ti"].map_index
        if index is not None and index >= 0:
            part += f"[{index}]"
        return f"{run_of(context)} {part}" if part else run_of(context)

    def render_template(self, content: Any, context: Context, *more: Any, **options: Any) -> Any:
        """Render templates that the DAG's author wrote, but not values that another task passed by `expand`.

        Airflow doesn't render a text passed by `expand`, but it renders the texts inside a dict or list passed by it.
        """
        is_field = any(content is getattr(self, name, None) for name in self.template_fields)
        if is_field and isinstance(content, dict | list) and _is_expanded_by_a_task(self):
            return content
        return super().render_template(content, context, *more, **options)

    def is_gone(self, context: Context) -> Callable[[str], bool]:
        """A predicate: whether another holder, a process of this machine or a run of this Airflow, has ended."""
        own = self.holder(context)
        return lambda other: other != own and is_over(context, other)

    def wait_for_lock(self, context: Context, project: Project) -> None:
        """Defer while another task holds the job's lock, which admits one operation per job; then call `work` again."""
        from sluice.airflow.lock_trigger import OperationTrigger  # noqa: PLC0415

        active = project.ledger.active(self.job)
        if active is None or active.holder == self.holder(context) or not is_run(active.holder):
            return
        if active.lease_until <= project.clock.now() or self.is_gone(context)(active.holder):
            return
        self.log.info("waiting for the end of the %s by %s", active.kind, active.holder)
        trigger = OperationTrigger(**self.where, operation=active.id)
        self.defer(trigger=trigger, method_name="continue_after_wait", timeout=_LONGEST)

    def continue_after_wait(self, context: Context, event: dict[str, Any]) -> Any:  # noqa: ARG002 - Airflow passes it
        """Try again to take the lock."""
        return self.work(context)

    def work(self, context: Context) -> Any:
        """The work of `execute`, for operators that may wait for the lock first."""
        raise NotImplementedError

    def extend_lease(self, context: Context, project: Project, deadline: float) -> timedelta:
        """Extend the lease of the held operation beyond a wait's deadline, Unix time in seconds; the time left."""
        now = project.clock.now()
        left = timedelta(seconds=deadline - now.timestamp())
        operation = self.held(project, context)
        if operation is not None:
            operation.keep_until(now + left + 2 * BACKSTOP)
        return left

    def driver(self, context: Context, project: Project) -> Driver:
        """The driver of this job's operations, with this task's holder."""
        from sluice.operation.driver import Driver  # noqa: PLC0415

        return Driver(project, self.job, self.holder(context), self.log.info, self.is_gone(context))

    def held(self, project: Project, context: Context) -> OperationHandle | None:
        """The operation in progress of this task or its group; None: there is none."""
        return self.driver(context, project).held()


class RequestOperator(SluiceOperator):
    """Base of the operators that carry out a request.

    Args:
        asked: The request, as the fields of the trigger form of deploy.<job> (templated); None: the parameters of the
            run.
        kwargs: See `SluiceOperator`.
    """

    template_fields: Collection[str] = ("asked",)

    def __init__(self, *, asked: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asked = asked

    def request(self, context: Context) -> DeployRequest:
        """The request.

        Raises:
            AirflowFailException: a parameter has an invalid value.
        """
        from sluice.plan.request import DeployRequest  # noqa: PLC0415

        with airflow_errors():
            return DeployRequest.from_params(self.request_fields(context))

    def request_fields(self, context: Context) -> Mapping[str, Any]:
        """The fields of the request, by their names in the trigger form."""
        fields: Mapping[str, Any] = context["params"] if self.asked is None else self.asked
        return fields

    @contextmanager
    def failed_attempt_recorded(self, context: Context, project: Project) -> Iterator[None]:
        """Record an attempt of the sweep that fails before its operation begins, so that the retry limits count it.

        Otherwise every sweep would repeat the attempt, without a limit.
        """
        from sluice.operation.failed_attempts import record_unbegun  # noqa: PLC0415

        try:
            yield
        except BusyError:
            raise
        except SluiceError as error:
            request, ti = self.request(context), context["ti"]
            is_last = is_permanent(error) or ti.try_number > ti.max_tries
            if request.unattended and is_last and self.held(project, context) is None:
                record_unbegun(project, self.job, request, self.holder(context), str(error))
            raise


class PlannedOperator(RequestOperator):
    """Base of the operators that carry out a part of a plan.

    Args:
        plan: The plan task's output (templated); None: there was no plan task.
        kwargs: See `RequestOperator`.
    """

    template_fields = ("plan", *RequestOperator.template_fields)

    def __init__(self, *, plan: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def planned(self) -> Plan | None:
        """The plan; None: there was no plan task.

        Raises:
            RefusedError: another version of Sluice made the plan, and this one can't read it.
        """
        from pydantic import ValidationError  # noqa: PLC0415

        from sluice.plan.model import Plan  # noqa: PLC0415

        try:
            return None if self.plan is None else Plan.model_validate(self.plan)
        except ValidationError as error:
            raise RefusedError(
                "the plan was made by another version of Sluice, and can't be read", remedy="clear the task plan"
            ) from error


def _is_expanded_by_a_task(task: BaseOperator) -> bool:
    """Whether the task is mapped over the output of another task."""
    from airflow.sdk.definitions.xcom_arg import XComArg  # noqa: PLC0415

    mapped = task.dag.task_dict.get(task.task_id)
    values = getattr(getattr(mapped, "expand_input", None), "value", None)
    if isinstance(values, XComArg):
        return True
    given = values.values() if isinstance(values, Mapping) else values or ()
    return any(isinstance(value, XComArg) for value in given)


@contextmanager
def airflow_errors() -> Iterator[None]:
    """Turn Sluice's errors into Airflow's: a permanent error fails the task at once, others are retried."""
    try:
        yield
    except SluiceError as error:
        raise (AirflowFailException if is_permanent(error) else AirflowException)(str(error)) from error


def is_permanent(error: SluiceError) -> bool:
    """Whether a retry would fail in the same way."""
    from sluice.operation.stop import StopFailedError  # noqa: PLC0415

    return isinstance(error, RefusedError | FlinkError | StopFailedError)


def check_ended(project: Project, job: str, operation: str) -> None:
    """Check the operation of a task that no longer holds it: a task may be cleared after a successful operation.

    Raises:
        AirflowFailException: the operation did not succeed, or another run has taken it over.
    """
    outcome = project.ledger.operation(operation).outcome
    if outcome is None or not outcome.is_success:
        raise AirflowFailException(f"{job}: the operation is no longer this run's: {outcome or 'taken over'}")
