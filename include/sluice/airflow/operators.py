"""The stages of a deploy as operators. They take plain values, and read the project when they run.

What costs time to import is imported when a task runs: the DAG processor parses every job.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.skipmixin import SkipMixin
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sluice.airflow.assets import set_event_extra
from sluice.airflow.base import RequestOperator, SluiceOperator, airflow_errors, refuse_lost
from sluice.airflow.links import JOB_URL, FlinkJobLink, job_url
from sluice.errors import BusyError, SluiceError

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator, Context

    from sluice.ledger.tables import Operation
    from sluice.operation.roll_back import RollbackResult
    from sluice.operation.started import Started
    from sluice.plan.approval import Approval
    from sluice.plan.model import Plan
    from sluice.project import Project


class PlanOperator(RequestOperator, SkipMixin):
    """Compare what is desired with what runs, and log what a deploy would do.

    The tasks `approve` and `create_topics` are skipped if the plan needs no approval, or changes no topic. If the job
    runs the desired release, which was verified, and its topics are as declared, all later tasks are skipped.
    """

    inherits_from_skipmixin = True

    def execute(self, context: Context) -> dict[str, Any]:
        """The plan, as JSON values."""
        return self.work(context)

    def work(self, context: Context) -> dict[str, Any]:
        """The plan, once it is this run's turn."""
        from sluice.operation.run import make_plan  # noqa: PLC0415
        from sluice.plan.explain import explain  # noqa: PLC0415

        request = self.request(context)
        with airflow_errors():
            project = self.project()
            self.wait_for_lock(context, project)
            project.ledger.refuse_busy(self.job, self.holder(context), self.is_gone(context))
            with self.counted(context, project):
                plan = make_plan(project, self.job, request, self.log.info, compiles_always=False)
        for line in explain(plan):
            self.log.info("%s", line)
        values = plan.model_dump(mode="json")
        if self.driver(context, project).has_nothing_to_do(plan):
            self.log.info("nothing to do: release %s runs and is proven", plan.release)
            context["ti"].xcom_push(key="return_value", value=values)
            self.skip(context["ti"], [each for each in _later(self) if not getattr(each, "ends_group", False)])
        idle = _idle(self, plan, needs_approval=plan.needs_approval and not request.allow_state_loss)
        if idle:
            # Skipping ends this task here. A task that is skipped from here costs no process.
            context["ti"].xcom_push(key="return_value", value=values)
            self.skip(context["ti"], idle)
        return values


def _later(task: BaseOperator) -> list[Any]:
    """The tasks that follow, of the same group where it is in one."""
    dag, group = task.dag, task.task_group
    ids = group.children if group is not None and not group.is_root else dag.task_dict
    return [dag.task_dict[each] for each in task.get_flat_relative_ids(upstream=False) if each in ids]


def _idle(task: BaseOperator, plan: Plan, *, needs_approval: bool) -> list[Any]:
    """The tasks after a plan task that have nothing to do.

    A task stays if one after it would be skipped with it, by Airflow's default trigger rule.
    """
    from sluice.airflow.approve import ApproveOperator  # noqa: PLC0415

    kinds: tuple[type, ...] = () if needs_approval else (ApproveOperator,)
    if all(topic.action == "keep" for topic in plan.topics):
        kinds += (CreateTopicsOperator,)
    found: list[BaseOperator] = [each for each in _later(task) if isinstance(each, kinds)]
    return [each for each in found if all(next_.trigger_rule == "none_failed" for next_ in each.downstream_list)]


class CreateTopicsOperator(RequestOperator):
    """Create the job's missing topics and report differences; nothing is ever deleted.

    What may be done beside that stands in the run's parameters: `grow_partitions`, `change_topics`.
    """

    def execute(self, context: Context) -> list[str]:
        """What was done, a line per topic."""
        from airflow.providers.apache.kafka.hooks.client import KafkaAdminClientHook  # noqa: PLC0415

        from sluice.kafka.client import Brokers  # noqa: PLC0415
        from sluice.operation.topics import create_topics  # noqa: PLC0415

        request = self.request(context)
        if request.kind != "deploy":
            raise AirflowSkipException("topics are a deploy's affair")
        with airflow_errors():
            project = self.project()
            admin = KafkaAdminClientHook(kafka_config_id=project.content.kafka.connection).get_conn
            brokers = Brokers(project.kafka, admin)
            with self.counted(context, project):
                steps = create_topics(
                    project,
                    self.job,
                    brokers,
                    grow_partitions=request.grow_partitions,
                    change_settings=request.change_topics,
                )
        for step in steps:
            self.log.info("%s", step.words)
        return [step.words for step in steps]


class PackageOperator(RequestOperator):
    """Store the job's code as an artifact, named by its content."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Module, digest and path of the artifact."""
        from sluice.release.artifact import package  # noqa: PLC0415

        if self.request(context).kind != "deploy":
            raise AirflowSkipException("the release has its artifact")
        with airflow_errors():
            project = self.project()
            with self.counted(context, project):
                module = project.catalog.job(self.job).module
                artifact = package(project.settings.root, module, project.settings.artifacts)
        return {"module": module, "artifact": artifact.digest, "file": str(artifact.file)}


class SwitchOverOperator(RequestOperator):
    """Compile the release, check the running job's state against it, stop that job, start the new one from its state.

    The running job is stopped only once the new one is compiled and its client waits. A retry goes on where the journal
    stands: it submits nothing twice.

    Args:
        plan: The plan task's output (templated); what is done must be what was shown. None: nothing was shown.
    """

    template_fields = ("plan", *RequestOperator.template_fields)
    operator_extra_links = (FlinkJobLink(),)

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Context) -> dict[str, Any]:
        """The job that runs: operation, release, Flink job id, what it was restored from."""
        return self.work(context)

    def work(self, context: Context) -> dict[str, Any]:
        """The job that runs, once it was this run's turn."""
        from sluice.operation.limits import limits  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            self.wait_for_lock(context, project)
            try:
                with self.counted(context, project):
                    started = self._switch(project, context)
            except BusyError:
                # Somebody was faster by a moment.
                self.wait_for_lock(context, project)
                raise
            except SluiceError as error:
                self.driver(context, project).failed("switch_over", str(error))
                raise
            release = project.ledger.release(self.job, started.release)
            timeout = limits(project, release, self.log.info).start_timeout.total_seconds()
        if started.flink_job_id:
            context["ti"].xcom_push(key=JOB_URL, value=job_url(project.flink_url, started.flink_job_id))
        return {**asdict(started), "deadline": time.time() + timeout}

    def _switch(self, project: Project, context: Context) -> Started:
        from sluice.compiler import Compiler  # noqa: PLC0415
        from sluice.flink.client import FlinkClient  # noqa: PLC0415

        driver, shown = self.driver(context, project), self.plan and self.plan["fingerprint"]
        with FlinkClient(project.flink) as flink, Compiler(project, self.job, driver.log) as compiler:
            request = self.request(context)
            return driver.start(request, flink, compiler, lambda: self._approval(context, project), shown).started

    def _approval(self, context: Context, project: Project) -> Approval | None:
        """What this run was given, ahead or when it asked; None: nothing."""
        from sluice.airflow.approve import given_approval  # noqa: PLC0415
        from sluice.plan.approval import Approval  # noqa: PLC0415

        if self.request(context).allow_state_loss:
            by = getattr(context["dag_run"], "triggering_user_name", None) or self.holder(context)
            return Approval(by, datetime.now(UTC))
        return given_approval(project, self.job, self.holder(context))


class SettleOperator(SluiceOperator):
    """End a deploy whose gates are all passed: mark the release healthy, measure the downtime, thin old savepoints.

    Args:
        started: The switch-over task's output (templated); None: there was nothing to do.
        ends_group: What follows the group waits for this task, so that it runs also where there is nothing to do.
    """

    template_fields = ("started",)

    def __init__(self, *, started: Any, ends_group: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.started = started
        self.ends_group = ends_group

    def execute(self, context: Context) -> dict[str, Any]:
        """The outcome, and the downtime in milliseconds."""
        if self.started is None:
            return {"outcome": "unchanged", "downtime_ms": None}
        with airflow_errors():
            project = self.project()
            ended = settle_operation(self, context, project, self.started)
            told = project.ledger.operation(self.started["operation"])
        set_event_extra(context, self.outlets, operation_extra(told))
        return ended


def settle_operation(
    task: SluiceOperator, context: Context, project: Project, started: Mapping[str, Any]
) -> dict[str, Any]:
    """End the operation that the task's run holds; the outcome, and the downtime in milliseconds.

    Args:
        task: The task.
        context: Its context.
        project: The project.
        started: The switch-over task's output.
    """
    ended = task.driver(context, project).settle(started_of(started))
    if ended is None:
        refuse_lost(project, task.job, started["operation"])
        return {"outcome": project.ledger.operation(started["operation"]).outcome, "downtime_ms": None}
    outcome, downtime = ended
    return {"outcome": outcome, "downtime_ms": downtime}


def started_of(values: Mapping[str, Any]) -> Started:
    """The job that a switch-over task has started, from the task's output."""
    from sluice.operation.started import Started  # noqa: PLC0415

    return Started(**{name: value for name, value in values.items() if name != "deadline"})


def operation_extra(operation: Operation) -> dict[str, Any]:
    """What the event of an asset says of an operation that has ended."""
    return {
        "operation": operation.id,
        "kind": operation.kind,
        "outcome": operation.outcome,
        "release": operation.release,
        "former_release": operation.former_release,
        "flink_job_id": operation.flink_job_id,
        "savepoint": operation.savepoint,
        "restored_from": operation.restored_from,
        "downtime_ms": operation.downtime_ms,
        "approved_by": operation.approved_by,
    }


class RollBackOperator(SluiceOperator):
    """After a failure: cancel what this run has started, and run the former release from the state it stopped with.

    Skipped when there is nothing to take back.
    """

    def execute(self, context: Context) -> str:
        """What was done, and what that meant."""
        with airflow_errors():
            project = self.project()
            back = go_back(self, context, project, "a task of the run failed")
        if back is None:
            raise AirflowSkipException("this run has begun nothing, or has ended it")
        if back.outcome != "rolled_back":
            raise AirflowFailException(f"{self.job}: {back.words}")
        # The newest of the job: this run has held it until now.
        set_event_extra(context, self.outlets, operation_extra(project.ledger.operations(self.job, 1)[0]))
        return back.words


def go_back(task: SluiceOperator, context: Context, project: Project, otherwise: str) -> RollbackResult | None:
    """Take back what the task's run has begun; None: it has begun nothing, or has ended it.

    Args:
        task: The task.
        context: Its context.
        project: The project.
        otherwise: The reason, where the journal has none.
    """
    return task.driver(context, project).take_back(otherwise)
