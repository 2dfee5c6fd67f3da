"""The stages of a deploy as operators. They take plain values, and read the project when they run.

What costs time to import is imported when a task runs: the DAG processor parses every job.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from sluice.airflow.base import SluiceOperator, airflow_errors
from sluice.airflow.links import JOB_URL, FlinkJobLink, job_url
from sluice.errors import RefusedError, SluiceError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.operation.switch_over import Started
    from sluice.project import Project

_BACKSTOP = timedelta(minutes=2)
"""How long after the trigger's own deadline Airflow gives up on the trigger."""
_LEAST = 60.0
"""Seconds that a gate has at the least."""


class PlanOperator(SluiceOperator):
    """Compare what is desired with what runs, and tell what a deploy would do; fail where an approval is missing."""

    def execute(self, context: Context) -> dict[str, Any]:
        """The plan, as JSON values."""
        from sluice.airflow.params import deploy_request  # noqa: PLC0415
        from sluice.operation.run import make_plan  # noqa: PLC0415
        from sluice.plan.explain import explain  # noqa: PLC0415

        params = context["params"]
        with airflow_errors():
            project = self.project()
            project.ledger.refuse_busy(self.job, self.holder(context), self.is_gone(context))
            plan = make_plan(project, self.job, deploy_request(params), self.log.info, compiles_first_start=False)
        for line in explain(plan):
            self.log.info("%s", line)
        if plan.needs_approval and not params.get("allow_state_loss"):
            reasons = "; ".join(plan.reasons) or "it loses state"
            raise AirflowFailException(
                f"{self.job}: needs an approval: {reasons}; trigger it again with Allow state loss, if that is meant"
            )
        return plan.model_dump(mode="json")


class CreateTopicsOperator(SluiceOperator):
    """Create the job's missing topics and report differences; nothing is ever deleted.

    What may be done beside that stands in the run's parameters: `grow_partitions`, `change_topics`.
    """

    def execute(self, context: Context) -> list[str]:
        """What was done, a line per topic."""
        from airflow.providers.apache.kafka.hooks.client import KafkaAdminClientHook  # noqa: PLC0415

        from sluice.operation.topics import create_topics  # noqa: PLC0415

        params = context["params"]
        if not _deploys(params):
            raise AirflowSkipException("topics are a deploy's affair")
        with airflow_errors():
            project = self.project()
            admin = KafkaAdminClientHook(kafka_config_id=project.content.kafka.connection).get_conn
            steps = create_topics(
                project,
                self.job,
                admin,
                grow_partitions=bool(params.get("grow_partitions")),
                change_settings=bool(params.get("change_topics")),
            )
        for step in steps:
            self.log.info("%s", step.words)
        return [step.words for step in steps]


class PackageOperator(SluiceOperator):
    """Store the job's code as an artifact, named by its content."""

    def execute(self, context: Context) -> dict[str, Any]:
        """Module, digest and path of the artifact."""
        from sluice.release.artifact import package  # noqa: PLC0415

        if not _deploys(context["params"]):
            raise AirflowSkipException("the release has its artifact")
        with airflow_errors():
            project = self.project()
            module = project.catalog.job(self.job).module
            artifact = package(project.settings.root, module, project.settings.artifacts)
        return {"module": module, "artifact": artifact.digest, "file": str(artifact.file)}


class SwitchOverOperator(SluiceOperator):
    """Compile the release, check the running job's state against it, stop that job, start the new one from its state.

    The running job is stopped only once the new one is compiled and its client waits. A retry goes on where the journal
    stands: it submits nothing twice.

    Args:
        plan: The plan task's output (templated); what is done must be what was shown.
    """

    template_fields = ("plan",)
    operator_extra_links = (FlinkJobLink(),)

    def __init__(self, *, plan: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.plan = plan

    def execute(self, context: Context) -> dict[str, Any]:
        """The job that runs: operation, release, Flink job id, what it was restored from."""
        with airflow_errors():
            project = self.project()
            try:
                started = self._switch(project, context)
            except SluiceError as error:
                operation = self.held(project, context)
                if operation is not None:
                    operation.record("switch_over", "failed", reason=str(error))
                raise
            timeout = project.desired(self.job).health.start_timeout.total_seconds()
        if started.flink_job_id:
            context["ti"].xcom_push(key=JOB_URL, value=job_url(project.flink_url, started.flink_job_id))
        return {**asdict(started), "deadline": time.time() + timeout}

    def _switch(self, project: Project, context: Context) -> Started:
        from sluice.airflow.params import deploy_request  # noqa: PLC0415
        from sluice.flink.client import FlinkClient  # noqa: PLC0415
        from sluice.operation.switch_over import SwitchOver  # noqa: PLC0415
        from sluice.plan.compiler import Compiler  # noqa: PLC0415
        from sluice.plan.planner import Planner  # noqa: PLC0415

        params, tell = context["params"], self.log.info
        with FlinkClient(project.flink_url) as flink, Compiler(project, self.job, tell) as compiler:
            planned = Planner(project, self.job, deploy_request(params), flink, compiler).plan()
            if planned.plan.fingerprint != self.plan["fingerprint"]:
                raise RefusedError(
                    f"{self.job}: its code or settings have changed since the plan was made",
                    remedy="trigger the DAG again, and read the new plan",
                )
            return SwitchOver(
                project,
                planned,
                flink,
                compiler,
                self.holder(context),
                tell,
                approved=bool(params.get("allow_state_loss")),
                note=params.get("reason") or None,
                is_gone=self.is_gone(context),
            ).run()


class GateOperator(SluiceOperator):
    """Wait, in the triggerer, until the job has passed a gate of its `Health`.

    Args:
        gate: `running`, `consumer_lag` or `watermark`.
        started: The submit task's output (templated).
    """

    template_fields = ("started",)
    operator_extra_links = (FlinkJobLink(),)

    def __init__(self, *, gate: str, started: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.gate = gate
        self.started = started

    def execute(self, context: Context) -> None:
        """Hand over to the trigger at once."""
        from sluice.airflow.triggers import GateTrigger  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            desired = project.desired(self.job)
        flink_job_id = self.started["flink_job_id"]
        if flink_job_id is None:
            raise AirflowSkipException("the job was suspended: there is nothing to look at")
        context["ti"].xcom_push(key=JOB_URL, value=job_url(project.flink_url, flink_job_id))
        # One deadline for all gates; a gate that is looked at again later gets a minute.
        deadline = max(float(self.started["deadline"]), time.time() + _LEAST)
        trigger = GateTrigger(
            gate=self.gate,
            flink_url=project.flink_url,
            flink_job_id=flink_job_id,
            topics=[topic.topic for topic in desired.reads.values()],
            group=desired.group,
            kafka_connection=project.content.kafka.connection,
            health=desired.health.model_dump(mode="json"),
            deadline=deadline,
            restored_from=self.started["restored_from"],
            positions=self.started["positions"],
        )
        left = timedelta(seconds=deadline - time.time())
        with airflow_errors():
            operation = self.held(project, context)
            if operation is not None:
                operation.keep_until(datetime.now(UTC) + left + 2 * _BACKSTOP)
        self.defer(trigger=trigger, method_name="resume", timeout=left + _BACKSTOP)

    def resume(self, context: Context, event: dict[str, Any]) -> str:
        """What the trigger has seen."""
        self.log.info("%s: %s", self.gate, event["words"])
        words = f"{self.gate}: {event['words']}"
        with airflow_errors():
            project = self.project()
            operation = self.held(project, context)
            if not event["passed"]:
                if operation is not None:
                    operation.record("verify", "failed", reason=words)
                raise AirflowFailException(f"{self.job}: {words}")
            if operation is None:
                _refuse_lost(project, self.job, self.started["operation"])
                return str(event["words"])
            if self.gate == "running":
                project.ledger.saw_checkpoint(self.job, self.started["flink_job_id"])
        return str(event["words"])


class SettleOperator(SluiceOperator):
    """End a deploy whose gates are all passed: mark the release healthy, measure the downtime, thin old savepoints.

    Args:
        started: The switch-over task's output (templated).
    """

    template_fields = ("started",)

    def __init__(self, *, started: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.started = started

    def execute(self, context: Context) -> dict[str, Any]:
        """The outcome, and the downtime in milliseconds."""
        from sluice.flink.client import FlinkClient  # noqa: PLC0415
        from sluice.operation.switch_over import Started  # noqa: PLC0415
        from sluice.operation.verify import settle  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            operation = self.held(project, context)
            if operation is None:
                _refuse_lost(project, self.job, self.started["operation"])
                return {"outcome": project.ledger.operation(self.started["operation"]).outcome, "downtime_ms": None}
            started = Started(**{name: value for name, value in self.started.items() if name != "deadline"})
            with FlinkClient(project.flink_url) as flink:
                outcome, downtime = settle(project, flink, operation, started, self.log.info)
        return {"outcome": outcome, "downtime_ms": downtime}


def _deploys(params: Mapping[str, Any]) -> bool:
    """Whether the run brings the job to what is desired now; otherwise it works with a release that is there."""
    return bool(params.get("operation", "deploy") == "deploy")


def _refuse_lost(project: Project, job: str, operation: str) -> None:
    """A task that was cleared after the deploy had ended well looks again, and that is all."""
    outcome = project.ledger.operation(operation).outcome
    if outcome not in ("healthy", "unchanged", "recorded", "suspended"):
        raise AirflowFailException(f"{job}: the operation is no longer this run's: {outcome or 'taken over'}")


class RollBackOperator(SluiceOperator):
    """After a failure: cancel what this run has started, and run the former release from the state it stopped with.

    Skipped when there is nothing to take back.
    """

    def execute(self, context: Context) -> str:
        """What was done, and what that meant."""
        from sluice.flink.client import FlinkClient  # noqa: PLC0415
        from sluice.operation.roll_back import roll_back  # noqa: PLC0415
        from sluice.plan.compiler import Compiler  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            operation = self.held(project, context)
            if operation is None:
                raise AirflowSkipException("this run has begun nothing, or has ended it")
            failure = operation.entry("verify", "failed") or operation.entry("switch_over", "failed") or {}
            reason = str(failure.get("reason", "a task of the run failed"))
            with FlinkClient(project.flink_url) as flink:
                back = roll_back(
                    project,
                    operation,
                    reason,
                    flink,
                    self.log.info,
                    lambda: Compiler(project, self.job, self.log.info),
                )
        if back.outcome != "rolled_back":
            raise AirflowFailException(f"{self.job}: {back.words}")
        return back.words
