"""A savepoint of a job that goes on running, as a task."""

from __future__ import annotations

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from sluice.airflow.base import BACKSTOP, SluiceOperator, airflow_errors
from sluice.airflow.links import JOB_URL, FlinkJobLink, job_url

if TYPE_CHECKING:
    from airflow.sdk import Context


class SavepointOperator(SluiceOperator):
    """Take a savepoint of a running job, and wait for it in the triggerer.

    The job runs on. A retry waits for the savepoint that the first try has asked for. It is kept as the others are:
    the five newest, and what something still starts from.

    Args:
        reason: Kept with the operation (templated).
        patience: How long it may take.
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
        """Ask for it, and wait; see `taken`."""
        return self.work(context)

    def work(self, context: Context) -> Any:
        """Ask for it, once it is this run's turn."""
        from sluice.airflow.triggers import SavepointTrigger  # noqa: PLC0415
        from sluice.flink.client import FlinkClient  # noqa: PLC0415
        from sluice.operation.savepoint import order_savepoint  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            self.wait_for_lock(context, project)
            with FlinkClient(project.flink) as flink:
                ordered = order_savepoint(
                    project, self.job, self.holder(context), flink, note=self.reason, is_gone=self.is_gone(context)
                )
            deadline = (datetime.now(UTC) + self.patience).timestamp()
            self.hold(context, project, deadline)
            token = project.ledger.operation(ordered.operation).token
        context["ti"].xcom_push(key=JOB_URL, value=job_url(project.flink_url, ordered.flink_job_id))
        trigger = SavepointTrigger(
            ordered=asdict(ordered),
            deadline=deadline,
            token=token,
            **self.where,
        )
        self.defer(trigger=trigger, method_name="taken", timeout=self.patience + BACKSTOP)

    def taken(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:  # noqa: ARG002 - what a trigger calls
        """Operation, release, Flink job id and path of the savepoint."""
        from sluice.operation.savepoint import Look, Ordered, enter_savepoint  # noqa: PLC0415

        if event["unreachable"]:
            # The savepoint may well be written: the next try finds it.
            raise AirflowException(f"{self.job}: {event['unreachable']}")
        with airflow_errors():
            taken = enter_savepoint(
                self.project(), Ordered(**event["ordered"]), Look(event["location"], event["failure"])
            )
        self.log.info("%s: savepoint %s", self.job, taken.savepoint)
        return asdict(taken)
