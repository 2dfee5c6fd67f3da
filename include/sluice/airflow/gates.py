"""Gates as tasks, for the DAGs deploy.<job> and for your own DAGs.

Slow imports are inside functions: the DAG processor imports this module for every job.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import TaskGroup
from airflow.sdk.exceptions import AirflowException, AirflowFailException, AirflowSkipException

from sluice.airflow.base import BACKSTOP, SluiceOperator, airflow_errors, check_ended, has_no_retries
from sluice.airflow.links import JOB_URL, FlinkJobLink, job_url
from sluice.airflow.operators import started_of
from sluice.errors import RefusedError
from sluice.ledger.values import Phase

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.operation.gate_order import GateOrder
    from sluice.operation.started import Started
    from sluice.project import Project

READING = "reading"
"""The XCom with the last reading of a gate: {gate, passed, words}."""


class GateOperator(SluiceOperator):
    """Wait until a job passes a gate of its `Health`: read it once, then wait in the triggerer if it isn't passed.

    The last reading is in the task's log and in the XCom `reading`; the task returns its words.

    Args:
        gate: `running`, `checkpoint`, `consumer_lag` or `watermark`.
        started: The switch-over task's output (templated). None, for your own DAGs: the job that runs at that time.
        patience: How long to wait, for your own DAGs; None: the job's `start_timeout`.
    """

    template_fields = ("started",)
    operator_extra_links = (FlinkJobLink(),)

    def __init__(self, *, gate: str, started: Any = None, patience: timedelta | None = None, **kwargs: Any) -> None:
        # The default retries are for tasks that Airflow marks as failed, not for a gate that isn't passed in time.
        self.fails_at_once = started is not None or has_no_retries(kwargs)
        super().__init__(**kwargs)
        self.gate = gate
        self.started = started
        self.patience = patience

    def execute(self, context: Context) -> str:
        """Read the gate once; defer to the trigger if it is not passed but still can be."""
        from sluice.health.gates import Gate  # noqa: PLC0415
        from sluice.operation.gate import look  # noqa: PLC0415
        from sluice.operation.gate_order import gate_order  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            started = _running(project, self.job) if self.started is None else started_of(self.started)
            if started.flink_job_id is None:
                raise AirflowSkipException("the job was suspended: there is no Flink job to check")
            deadline = None if self.started is None else float(self.started["deadline"])
            order = gate_order(
                project, self.job, started, (Gate(self.gate),), self.log.info, deadline=deadline, patience=self.patience
            )
            context["ti"].xcom_push(key=JOB_URL, value=job_url(project.flink_url, order.flink_job_id))
            reading = look(project, order)
        if not reading.passed and not reading.hopeless:
            self.log.info("%s", reading.words)
            self._wait(context, project, order)
        return self._conclude(context, project, passed=reading.passed, words=reading.words)

    def resume(self, context: Context, event: dict[str, Any]) -> str:
        """Continue with the trigger's reading."""
        with airflow_errors():
            project = self.project()
        return self._conclude(context, project, passed=event["passed"], words=event["words"])

    def _wait(self, context: Context, project: Project, order: GateOrder) -> NoReturn:
        from sluice.airflow.triggers import GateTrigger  # noqa: PLC0415

        left = timedelta(seconds=order.deadline - time.time())
        if self.started is not None:
            with airflow_errors():
                self.extend_lease(context, project, order.deadline)
        trigger = GateTrigger(order=order.model_dump(mode="json"), **self.where)
        self.defer(trigger=trigger, method_name="resume", timeout=left + BACKSTOP)

    def _conclude(self, context: Context, project: Project, *, passed: bool, words: str) -> str:
        self.log.info("%s: %s", self.gate, words)
        context["ti"].xcom_push(key=READING, value={"gate": self.gate, "passed": passed, "words": words})
        if self.started is not None:
            self._record(context, project, None if passed else f"{self.gate}: {words}")
        if not passed:
            # In your own DAG the job may pass at a retry; a deploy has used its whole time limit.
            error = AirflowFailException if self.fails_at_once else AirflowException
            raise error(f"{self.job}: {self.gate}: {words}")
        return words

    def _record(self, context: Context, project: Project, failure: str | None) -> None:
        """Record the result in the operation; a passed gate requires that this run still holds the operation."""
        from sluice.health.gates import Gate  # noqa: PLC0415

        driver = self.driver(context, project)
        with airflow_errors():
            if failure is not None:
                driver.failed("verify", failure)
            elif driver.held() is None:
                check_ended(project, self.job, self.started["operation"])
            else:
                driver.passed(Gate(self.gate), started_of(self.started))


def gate_group(
    job: str,
    *,
    gates: Sequence[str] = ("running", "checkpoint", "consumer_lag", "watermark"),
    group_id: str | None = None,
    root: str | Path | None = None,
    environment: str | None = None,
    patience: timedelta | None = None,
    **kwargs: Any,
) -> TaskGroup:
    """A group of tasks, one after the other, that wait until a job is within its limits.

    Args:
        job: The job's name.
        gates: The gates, in this order.
        group_id: None: `<job>_is_healthy`.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
        patience: How long each gate may wait; None: the job's `start_timeout`.
        kwargs: Arguments of the operators: `retries`, `pool`, ...
    """
    with TaskGroup(group_id=group_id or f"{job}_is_healthy") as group:
        previous: GateOperator | None = None
        for gate in gates:
            task = GateOperator(
                task_id=gate,
                gate=gate,
                job=job,
                root=None if root is None else str(root),
                environment=environment,
                patience=patience,
                **kwargs,
            )
            if previous is not None:
                previous >> task
            previous = task
    return group


def _running(project: Project, job: str) -> Started:
    """The running job, from the ledger.

    Raises:
        RefusedError: the ledger has the job as not running.
    """
    from sluice.operation.started import Started  # noqa: PLC0415

    place = project.ledger.placement(job)
    if place is None or place.phase != Phase.RUNNING:
        state = "was never deployed" if place is None else f"is {place.phase}"
        raise RefusedError(f"{job} {state}: there is no running job to check", remedy=f"deploy it: deploy.{job}")
    return Started("", place.release, place.flink_job_id, None, unchanged=True)
