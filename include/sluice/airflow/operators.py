"""The stages of a deploy as operators. They take plain values, and read the project when they run.

Slow imports are inside functions: the DAG processor imports this module for every job.
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
from sluice.airflow.base import PlannedOperator, RequestOperator, SluiceOperator, airflow_errors, check_ended
from sluice.airflow.links import JOB_URL, FlinkJobLink, job_url
from sluice.errors import BusyError, SluiceError
from sluice.ledger.values import Outcome

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.kafka.client import Brokers
    from sluice.ledger.tables import Operation
    from sluice.operation.roll_back import RollbackResult
    from sluice.operation.started import Started
    from sluice.plan.approval import Approval
    from sluice.plan.model import Plan
    from sluice.project import Project


class PlanOperator(RequestOperator, SkipMixin):
    """Compare the desired with the running release, and log what a deploy would do.

    The task `approve` is skipped if the plan needs no approval, and `create_topics` if it changes no topic. All later
    tasks are skipped if the desired release runs and has passed its gates, and the job's topics are as declared.
    """

    inherits_from_skipmixin = True

    def execute(self, context: Context) -> dict[str, Any]:
        """The plan, as JSON values."""
        return self.work(context)

    def work(self, context: Context) -> dict[str, Any]:
        """Make the plan when the lock is free; the plan, as JSON values."""
        from sluice.operation.run import make_plan  # noqa: PLC0415
        from sluice.plan.explain import explain  # noqa: PLC0415

        request = self.request(context)
        with airflow_errors():
            project = self.project()
            self.wait_for_lock(context, project)
            project.ledger.refuse_busy(self.job, self.holder(context), self.is_gone(context))
            with self.failed_attempt_recorded(context, project):
                plan = make_plan(project, self.job, request, self.log.info, compiles_always=False)
        for line in explain(plan):
            self.log.info("%s", line)
        values = plan.model_dump(mode="json")
        idle: list[Any] = []
        if self.driver(context, project).has_nothing_to_do(plan):
            self.log.info("nothing to do: release %s runs and has passed its gates", plan.release)
            idle = [each for each in _later(self) if not getattr(each, "ends_group", False)]
        elif request.allow_state_loss or not plan.needs_approval:
            idle = _idle(self, plan)
        if idle:
            # Skipped from here: a task would need a worker slot only to skip itself.
            context["ti"].xcom_push(key="return_value", value=values)
            self.skip(context["ti"], idle)
        return values


def _later(task: SluiceOperator) -> list[Any]:
    """The tasks of this plan that follow: of the same group, if it is in one, and up to the next plan."""
    dag, group = task.dag, task.task_group
    ids = group.children if group is not None and not group.is_root else dag.task_dict
    found: dict[str, Any] = {}
    left: list[Any] = list(task.downstream_list)
    while left:
        each = left.pop()
        if each.task_id in found or each.task_id not in ids or isinstance(each, PlanOperator):
            continue
        if getattr(each, "job", None) != task.job:
            continue
        found[each.task_id] = each
        left += each.downstream_list
    return list(found.values())


def _idle(task: SluiceOperator, plan: Plan) -> list[Any]:
    """The later tasks that have nothing to do, for a plan that needs no further approval.

    A task is not among them if a later task would be skipped with it, by Airflow's default trigger rule. For a plan
    that still needs an approval no task may be skipped: the tasks after a skipped one would not wait for the approval.
    """
    from sluice.airflow.approve import ApproveOperator  # noqa: PLC0415

    kinds: tuple[type, ...] = (ApproveOperator, CreateTopicsOperator) if plan.keeps_topics else (ApproveOperator,)
    return [each for each in _later(task) if isinstance(each, kinds) and not _skips_with(each)]


def _skips_with(task: Any) -> bool:
    """Whether Airflow skips a task after this one, if this one is skipped."""
    return any(follower.trigger_rule != "none_failed" for follower in task.downstream_list)


class CreateTopicsOperator(PlannedOperator):
    """Create the job's missing topics, and report topics that differ from their declaration.

    It changes existing topics only if the request has `grow_partitions` or `change_topics`, and never deletes one. It
    takes the plan's steps; without a plan, it compares the topics now.
    """

    def execute(self, context: Context) -> list[str]:
        """A line for each topic: what was done or found."""
        from sluice.operation.topics import create_topics  # noqa: PLC0415

        request = self.request(context)
        if request.kind != "deploy":
            raise AirflowSkipException("only a deploy changes topics")
        with airflow_errors():
            project = self.project()
            brokers = self.brokers(project)
            with self.failed_attempt_recorded(context, project):
                if plan := self.planned():
                    brokers.apply(plan.topic_steps)
                    done = [topic.words for topic in plan.topics]
                else:
                    steps = create_topics(
                        project,
                        self.job,
                        brokers,
                        grow_partitions=request.grow_partitions,
                        change_settings=request.change_topics,
                    )
                    done = [step.words for step in steps]
        for words in done:
            self.log.info("%s", words)
        return done

    def brokers(self, project: Project) -> Brokers:
        """The project's brokers, reached by Airflow's own hook of the Kafka connection."""
        from airflow.providers.apache.kafka.hooks.client import KafkaAdminClientHook  # noqa: PLC0415

        from sluice.kafka.client import Brokers  # noqa: PLC0415

        admin = KafkaAdminClientHook(kafka_config_id=project.content.kafka.connection).get_conn
        return Brokers(project.kafka, admin)


class PackageOperator(PlannedOperator):
    """Store the job's code as an artifact, named by the digest of its content.

    If the plan has stored it, the artifact is compared with its digest.
    """

    def execute(self, context: Context) -> dict[str, Any]:
        """Module, digest and path of the artifact."""
        from sluice.release.artifact import Artifact, artifact_file, package, verify  # noqa: PLC0415

        if self.request(context).kind != "deploy":
            raise AirflowSkipException("the artifact of the release exists already")
        with airflow_errors():
            project = self.project()
            with self.failed_attempt_recorded(context, project):
                module, store = project.catalog.job(self.job).module, project.settings.artifacts
                plan = self.planned()
                if plan and plan.artifact and artifact_file(store, plan.artifact).exists():
                    artifact = Artifact(plan.artifact, verify(store, plan.artifact))
                else:
                    artifact = package(project.settings.root, module, store)
        return {"module": module, "artifact": artifact.digest, "file": str(artifact.file)}


class SwitchOverOperator(PlannedOperator):
    """Compile the release, check the running job's state against it, stop that job, start the new one from its state.

    The running job is stopped only when the new one is compiled and its client is ready to submit. A retry continues
    from the journal, and submits nothing twice.

    Args:
        plan: The plan task's output (templated): the operation must match this plan. None: there was no plan task.
    """

    operator_extra_links = (FlinkJobLink(),)

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(plan=plan, **kwargs)

    def execute(self, context: Context) -> dict[str, Any]:
        """The job that runs: operation, release, Flink job id, what it was restored from."""
        return self.work(context)

    def work(self, context: Context) -> dict[str, Any]:
        """Switch over when the lock is free; the job that runs."""
        from sluice.operation.limits import limits  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            self.wait_for_lock(context, project)
            try:
                with self.failed_attempt_recorded(context, project):
                    started = self._switch(project, context)
            except BusyError:
                # Another process has taken the lock since the check.
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
        driver, shown = self.driver(context, project), self.planned()
        with project.connect() as flink, project.compiler(self.job, driver.log) as compiler:
            request = self.request(context)
            return driver.start(request, flink, compiler, lambda: self._approval(context, project), shown).started

    def _approval(self, context: Context, project: Project) -> Approval | None:
        """The approval of this run's plan, given in advance or on request; None: there is none."""
        from sluice.airflow.approve import given_approval  # noqa: PLC0415
        from sluice.plan.approval import Approval  # noqa: PLC0415

        if self.request(context).allow_state_loss:
            by = getattr(context["dag_run"], "triggering_user_name", None) or self.holder(context)
            return Approval(by, datetime.now(UTC))
        return given_approval(project, self.job, self.holder(context))


class SettleOperator(SluiceOperator):
    """End a deploy that passed all gates: mark the release as healthy, measure the downtime, delete old savepoints.

    Args:
        started: The switch-over task's output (templated); None: there was nothing to do.
        ends_group: Tasks after the group wait for this task, so that it also runs if there was nothing to do.
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
            operation = project.ledger.operation(self.started["operation"])
        set_event_extra(context, self.outlets, operation_extra(operation))
        return ended


def settle_operation(
    task: SluiceOperator, context: Context, project: Project, started: Mapping[str, Any]
) -> dict[str, Any]:
    """End the operation that the task's run holds; the outcome, and the downtime in milliseconds.

    Args:
        task: The task.
        context: The task's context.
        project: The project.
        started: The switch-over task's output.
    """
    ended = task.driver(context, project).settle(started_of(started))
    if ended is None:
        check_ended(project, task.job, started["operation"])
        return {"outcome": project.ledger.operation(started["operation"]).outcome, "downtime_ms": None}
    outcome, downtime = ended
    return {"outcome": outcome, "downtime_ms": downtime}


def started_of(values: Mapping[str, Any]) -> Started:
    """The job that a switch-over task started, from the task's output."""
    from sluice.operation.started import Started  # noqa: PLC0415

    return Started(**{name: value for name, value in values.items() if name != "deadline"})


def operation_extra(operation: Operation) -> dict[str, Any]:
    """The extra of the asset events of an operation that has ended."""
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
    """After a failure: cancel the run's Flink job, and start the previous release from the state it was stopped with.

    Skipped if the run has no operation in progress.
    """

    def execute(self, context: Context) -> str:
        """Roll back; a description of the result."""
        with airflow_errors():
            project = self.project()
            result = roll_back_run(self, context, project, "a task of the run failed")
        if result is None:
            raise AirflowSkipException("this run has no operation in progress: there is nothing to roll back")
        if result.outcome != Outcome.ROLLED_BACK:
            raise AirflowFailException(f"{self.job}: {result.words}")
        # The job's newest operation is this run's: it has held the lock until now.
        set_event_extra(context, self.outlets, operation_extra(project.ledger.operations(self.job, 1)[0]))
        return result.words


def roll_back_run(task: SluiceOperator, context: Context, project: Project, reason: str) -> RollbackResult | None:
    """Roll back the operation of the task's run; None: the run has no operation in progress.

    Args:
        task: The task.
        context: The task's context.
        project: The project.
        reason: The reason of the failure, if the journal has none.
    """
    return task.driver(context, project).roll_back(reason)
