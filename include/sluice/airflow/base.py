"""What every operator here has in common: the project, the holder of its operation, and what its errors mean.

What costs time to import is imported when a task runs: the DAG processor parses every job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
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
    from sluice.plan.request import DeployRequest
    from sluice.project import Project


RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": True}
"""What the operators have where a DAG gives them no `retries`: each of them continues from the journal.

Airflow itself can lose a task: where the scheduler is slower than a trigger, it learns that the task has deferred only
when the task is queued again, and marks it failed ("state mismatch"). The job is not at fault then.
"""
BACKSTOP = timedelta(minutes=2)
"""How long after a trigger's own deadline Airflow gives up on the trigger."""
_LONGEST = timedelta(days=7)
"""How long a task may wait for its turn in the triggerer."""


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
        """Of which project a trigger's arguments are: the triggerer finds it by itself."""
        return {"root": self.root, "environment": self.environment}


def has_no_retries(kwargs: Mapping[str, Any]) -> bool:
    """Whether neither an operator's arguments nor its DAG's `default_args` say how often it is tried again."""
    return "retries" not in {**(kwargs.get("default_args") or {}), **kwargs}


def is_retry(context: Context) -> bool:
    """Whether a try before has failed, of which nothing was cleared since.

    Airflow lets a task that is cleared have all its retries once more, after the tries that it has had.
    """
    ti = context["ti"]
    return bool(ti.try_number > ti.max_tries - (context["task"].retries or 0) + 1)


class SluiceOperator(ProjectOperator):
    """Base of the operators that work on one job.

    Attributes:
        is_whole: It does a whole operation; otherwise the tasks of its group do one together.

    Args:
        job: The job's name.
        kwargs: See `ProjectOperator`.
    """

    is_whole: ClassVar[bool] = False

    def __init__(self, *, job: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.job = job

    def holder(self, context: Context) -> str:
        """Who holds the operation: of the DAG run this task, or its group, so that a retry goes on with its own.

        Two of one run that work on the same job wait for each other, as two runs do.
        """
        group = self.task_group.group_id if self.task_group else None
        part = (self.task_id if self.is_whole else group) or ""
        index = context["ti"].map_index
        if index is not None and index >= 0:
            part += f"[{index}]"
        return f"{run_of(context)} {part}" if part else run_of(context)

    def render_template(self, content: Any, context: Context, *more: Any, **options: Any) -> Any:
        """What a DAG's author has written is a template, what another task has given by `expand` is not.

        Airflow knows such a text again, but renders the texts inside of a dict or a list that was given so.
        """
        is_field = any(content is getattr(self, name, None) for name in self.template_fields)
        if is_field and isinstance(content, dict | list) and _is_expanded_by_a_task(self):
            return content
        return super().render_template(content, context, *more, **options)

    def is_gone(self, context: Context) -> Callable[[str], bool]:
        """Whether another holder is known to have ended: a process of this machine, or a run of this Airflow."""
        own = self.holder(context)
        return lambda other: other != own and is_over(context, other)

    def wait_for_lock(self, context: Context, project: Project) -> None:
        """Wait in the triggerer while another task holds the job, and begin again; one operation per job at a time."""
        from sluice.airflow.lock_trigger import OperationTrigger  # noqa: PLC0415

        active = project.ledger.active(self.job)
        if active is None or active.holder == self.holder(context) or not is_run(active.holder):
            return
        if active.lease_until <= datetime.now(UTC) or self.is_gone(context)(active.holder):
            return
        self.log.info("it waits for the %s by %s", active.kind, active.holder)
        trigger = OperationTrigger(**self.where, operation=active.id)
        self.defer(trigger=trigger, method_name="turn", timeout=_LONGEST)

    def turn(self, context: Context, event: dict[str, Any]) -> Any:  # noqa: ARG002 - what a trigger calls
        """It may be its turn."""
        return self.work(context)

    def work(self, context: Context) -> Any:
        """What `execute` does, for an operator that may have to wait for its turn."""
        raise NotImplementedError

    def hold(self, context: Context, project: Project, deadline: float) -> timedelta:
        """Keep the operation that is held until the deadline, Unix time in seconds; how long that is."""
        left = timedelta(seconds=deadline - time.time())
        operation = self.held(project, context)
        if operation is not None:
            operation.keep_until(datetime.now(UTC) + left + 2 * BACKSTOP)
        return left

    def driver(self, context: Context, project: Project) -> Driver:
        """The driver of this job's operations, for the holder that this task belongs to."""
        from sluice.operation.driver import Driver  # noqa: PLC0415

        return Driver(project, self.job, self.holder(context), self.log.info, self.is_gone(context))

    def held(self, project: Project, context: Context) -> OperationHandle | None:
        """The operation that this task or its group holds; None: it has none, or has ended it."""
        return self.driver(context, project).held()


class RequestOperator(SluiceOperator):
    """Base of the operators that do what a run asks for.

    Args:
        asked: What is asked for, as the fields of the trigger form of deploy.<job> (templated); None: the run's own
            parameters.
        kwargs: See `SluiceOperator`.
    """

    template_fields: Collection[str] = ("asked",)

    def __init__(self, *, asked: Any = None, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.asked = asked

    def request(self, context: Context) -> DeployRequest:
        """What is requested.

        Raises:
            AirflowFailException: a parameter has a value that can't be one of it.
        """
        from sluice.plan.request import DeployRequest  # noqa: PLC0415

        with airflow_errors():
            return DeployRequest.from_params(self.given(context))

    def given(self, context: Context) -> Mapping[str, Any]:
        """The parameters of the request, by their names in the trigger form."""
        found: Mapping[str, Any] = context["params"] if self.asked is None else self.asked
        return found

    @contextmanager
    def counted(self, context: Context, project: Project) -> Iterator[None]:
        """Let a sweep's try that comes to nothing before an operation has begun be found by the next sweep.

        Otherwise it would be made again at each, and never be given up.
        """
        from sluice.operation.failed_attempts import record_unbegun  # noqa: PLC0415

        try:
            yield
        except BusyError:
            raise
        except SluiceError as error:
            request, ti = self.request(context), context["ti"]
            is_last = is_for_good(error) or ti.try_number > ti.max_tries
            if request.unattended and is_last and self.held(project, context) is None:
                record_unbegun(project, self.job, request, self.holder(context), str(error))
            raise


def _is_expanded_by_a_task(task: BaseOperator) -> bool:
    """Whether it is mapped over what another task gives."""
    from airflow.sdk.definitions.xcom_arg import XComArg  # noqa: PLC0415

    mapped = task.dag.task_dict.get(task.task_id)
    values = getattr(getattr(mapped, "expand_input", None), "value", None)
    if isinstance(values, XComArg):
        return True
    given = values.values() if isinstance(values, Mapping) else values or ()
    return any(isinstance(value, XComArg) for value in given)


@contextmanager
def airflow_errors() -> Iterator[None]:
    """What a retry can't mend fails at once; the rest is left to the task's retries."""
    try:
        yield
    except SluiceError as error:
        raise (AirflowFailException if is_for_good(error) else AirflowException)(str(error)) from error


def is_for_good(error: SluiceError) -> bool:
    """Whether no retry can mend it."""
    from sluice.operation.stop import StopFailedError  # noqa: PLC0415

    return isinstance(error, RefusedError | FlinkError | StopFailedError)


def refuse_lost(project: Project, job: str, operation: str) -> None:
    """A task that was cleared after the deploy had ended well looks again, and that is all."""
    outcome = project.ledger.operation(operation).outcome
    if outcome not in ("healthy", "unchanged", "recorded", "suspended"):
        raise AirflowFailException(f"{job}: the operation is no longer this run's: {outcome or 'taken over'}")
