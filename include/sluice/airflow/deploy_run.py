"""The operator with which the sweep triggers a run of deploy.<job> and waits for it until the sweep's deadline.

None of its fields is a template: a run's reason contains messages of exceptions, which may contain data of records.
"""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import XCOM_RUN_ID, TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DagRunTriggerException
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.base import BACKSTOP
from sluice.airflow.task_api import run_state, trigger_run
from sluice.clock import MACHINE, Clock
from sluice.settings import JOBS_PACKAGE

if TYPE_CHECKING:
    from airflow.sdk import Context

_PREFIX = "deploy."
_PAUSE = 5.0
"""Seconds between two requests for the run's state."""
_REMOVED_AFTER = 30.0
"""Seconds without the job's file after which Airflow is taken to have removed its DAG.

A checkout replaces files within a moment, and the DAG processor reads them every few seconds.
"""


class RunStatus(StrEnum):
    """Why the task stops waiting for a run. Events of the trigger carry these values."""

    SUCCESS = "success"
    FAILED = "failed"
    LATE = "late"
    """The run has not ended by the sweep's deadline."""
    REMOVED = "removed"
    """The job's file was removed: Airflow no longer schedules the run's tasks."""
    DELETED = "deleted"
    """The run was deleted in Airflow."""


class DeployRunOperator(TriggerDagRunOperator):
    """Start a run of a job's deploy DAG, and wait for it in the triggerer until the sweep's deadline.

    If the run has not ended by then, it continues and this task is skipped. If the job's file was removed, this task
    fails: Airflow leaves the run's tasks `up_for_reschedule` and the run `running`.

    Args:
        root: The project's directory.
        within: The deadline, from the start of this task's own DAG run.
        kwargs: See `TriggerDagRunOperator`. `conf` and the other arguments are not rendered as templates.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, root: str, within: timedelta, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.within = within

    def execute(self, context: Context) -> None:
        """Start the run, and wait for its end if the sweep requests that."""
        try:
            super().execute(context)
        except DagRunTriggerException as order:
            if not order.wait_for_completion:
                raise
            self._make_run(order)
        run: str = str(self.trigger_run_id)
        context["ti"].xcom_push(key=XCOM_RUN_ID, value=run)
        began = context["dag_run"].start_date
        deadline = (began.timestamp() if began else time.time()) + self.within.total_seconds()
        left = deadline - time.time()
        if left <= 0:
            self._finish(run, RunStatus.LATE)
            return
        trigger = DeployRunTrigger(
            dag_id=self.trigger_dag_id,
            run_id=run,
            file=str(Path(self.root) / JOBS_PACKAGE / f"{self.trigger_dag_id.removeprefix(_PREFIX)}.py"),
            deadline=deadline,
            pause=float(self.poke_interval),
        )
        self.defer(
            trigger=trigger, method_name="ended", kwargs={"run": run}, timeout=timedelta(seconds=left) + BACKSTOP
        )

    def ended(self, context: Context, event: dict[str, Any], run: str) -> None:  # noqa: ARG002 - Airflow passes it
        """End the task with the status from the trigger's event."""
        self.trigger_run_id = run
        self._finish(run, RunStatus(event["status"]))

    def _make_run(self, order: DagRunTriggerException) -> None:
        """Start the run as Airflow's task runner does. The task runner would then wait without a deadline."""
        from airflow.sdk.exceptions import ErrorType  # noqa: PLC0415

        error = trigger_run(order.trigger_dag_id, order.dag_run_id, order.logical_date, order.conf)
        if error is not None and error != ErrorType.DAGRUN_ALREADY_EXISTS:
            raise AirflowFailException(f"no run of {order.trigger_dag_id} could be triggered: {error.value}")

    def _finish(self, run: str, status: RunStatus) -> None:
        """End the task as the run's status says."""
        dag = self.trigger_dag_id
        match status:
            case RunStatus.SUCCESS:
                self.log.info("run %s of %s has succeeded", run, dag)
            case RunStatus.LATE:
                raise AirflowSkipException(
                    f"run {run} of {dag} still runs at this sweep's deadline: the next sweep checks the job again"
                )
            case RunStatus.REMOVED:
                raise AirflowFailException(describe_removed_file(dag, run))
            case RunStatus.DELETED:
                raise AirflowFailException(f"run {run} of {dag} was deleted while it ran")
            case RunStatus.FAILED:
                raise AirflowFailException(f"run {run} of {dag} has failed: see its tasks")


def describe_removed_file(dag: str, run: str) -> str:
    """The message for a run whose job's file was removed.

    Args:
        dag: The deploy DAG's id.
        run: The run's id.
    """
    job = dag.removeprefix(_PREFIX)
    return (
        f"the file of {job} was removed while run {run} of {dag} ran: Airflow no longer schedules its tasks; put "
        f"{JOBS_PACKAGE}/{job}.py back, or mark the run as failed"
    )


class DeployRunTrigger(BaseTrigger):
    """Fires when a run of a deploy DAG has ended or was deleted, its job's file was removed, or the deadline is over.

    Args:
        dag_id: The deploy DAG.
        run_id: The run.
        file: The job's file.
        deadline: Unix time in seconds.
        pause: Seconds between two requests for its state.

    Attributes:
        clock: The clock by which it waits; Airflow doesn't store it.
    """

    def __init__(self, *, dag_id: str, run_id: str, file: str, deadline: float, pause: float = _PAUSE) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dag_id = dag_id
        self.run_id = run_id
        self.file = file
        self.deadline = deadline
        self.pause = pause
        self.clock: Clock = MACHINE

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments."""
        names = ("dag_id", "run_id", "file", "deadline", "pause")
        return f"{__name__}.DeployRunTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: {status}; see `RunStatus`."""
        clock = self.clock
        seen = clock.monotonic()
        while True:
            status = await sync_to_async(self._status)()
            if await sync_to_async(Path(self.file).exists)():
                seen = clock.monotonic()
            elif clock.monotonic() - seen >= _REMOVED_AFTER:
                status = status or RunStatus.REMOVED
            if status is None and clock.now().timestamp() >= self.deadline:
                status = RunStatus.LATE
            if status is not None:
                yield TriggerEvent({"status": status.value})  # type: ignore[no-untyped-call]
                return
            await clock.pause(max(0.0, min(self.pause, self.deadline - clock.now().timestamp())))

    def _status(self) -> RunStatus | None:
        """The status of an ended run; None: it has not ended."""
        state = run_state(self.dag_id, self.run_id)
        if state is None:
            return RunStatus.DELETED
        match state:
            case "success":
                return RunStatus.SUCCESS
            case "failed":
                return RunStatus.FAILED
        return None
