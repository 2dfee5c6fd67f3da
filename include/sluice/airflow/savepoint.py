"""A savepoint of a running job, as a task. The job keeps running."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from sluice.airflow.base import BACKSTOP, SluiceOperator, airflow_errors
from sluice.airflow.links import JOB_URL, FlinkJobLink, job_url

if TYPE_CHECKING:
    from airflow.sdk import Context


class SavepointOperator(SluiceOperator):
    """Take a savepoint of a running job, and wait for it in the triggerer.

    The job keeps running. A retry waits for the savepoint that the first try triggered. Sluice retains the five newest
    savepoints of a job, and those from which a release may still start.

    Args:
        reason: Stored with the operation (templated).
        patience: How long the savepoint may take.
    """

    is_whole = True
    template_fields = ("reason",)
    operator_extra_links = (FlinkJobLink(),)

    def __init__(
        self, *, reason: str | None = None, patience: timedelta = timedelta(minutes=30), **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.reason = reason
        self.patience = patience

    def execute(self, context: Context) -> Any:
        """Trigger the savepoint, and wait; see `taken`."""
        return self.work(context)

    def work(self, context: Context) -> Any:
        """Trigger the savepoint when the lock is free."""
        from sluice.airflow.triggers import SavepointTrigger  # noqa: PLC0415
        from sluice.operation.savepoint import order_savepoint  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            self.wait_for_lock(context, project)
            with project.connect() as flink:
                ordered = order_savepoint(
                    project, self.job, self.holder(context), flink, note=self.reason, is_gone=self.is_gone(context)
                )
            deadline = (project.clock.now() + self.patience).timestamp()
            self.extend_lease(context, project, deadline)
            token = project.ledger.operation(ordered.operation).token
        context["ti"].xcom_push(key=JOB_URL, value=job_url(project.flink_url, ordered.flink_job_id))
        trigger = SavepointTrigger(
            ordered=asdict(ordered),
            deadline=deadline,
            token=token,
            **self.where,
        )
        self.defer(trigger=trigger, method_name="taken", timeout=self.patience + BACKSTOP)

    def taken(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - Airflow passes it
        """Record the savepoint; its operation, release, Flink job id and path."""
        from sluice.operation.savepoint import Look, Ordered, enter_savepoint  # noqa: PLC0415

        if event["unreachable"]:
            # Flink may still complete the savepoint: the next try waits for it.
            raise AirflowException(f"{self.job}: {event['unreachable']}")
        with airflow_errors():
            taken = enter_savepoint(
                self.project(), Ordered(**event["ordered"]), Look(event["location"], event["failure"])
            )
        self.log.info("%s: savepoint %s", self.job, taken.savepoint)
        return asdict(taken)
