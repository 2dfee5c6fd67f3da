"""A run of deploy.<job> that the sweep makes, and waits for no longer than until its own deadline.

Nothing of it is a template: the reason of a run holds the words of exceptions, and so of records.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from airflow.providers.standard.operators.trigger_dagrun import XCOM_RUN_ID, TriggerDagRunOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, DagRunTriggerException
from airflow.triggers.base import BaseTrigger, TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.base import BACKSTOP
from sluice.settings import JOBS_PACKAGE

if TYPE_CHECKING:
    from airflow.sdk import Context

Status = Literal["success", "failed", "late", "removed", "deleted"]
_PREFIX = "deploy."
_PAUSE = 5.0
"""Seconds between two looks at the run."""
_REMOVED_AFTER = 30.0
"""Seconds without the job's file after which a run of its DAG counts as one that Airflow does not go on with.

A checkout replaces files, and the DAG processor reads them every few seconds.
"""


class DeployRunOperator(TriggerDagRunOperator):
    """Make a run of a job's deploy DAG, and wait for its end in the triggerer until the sweep's time is up.

    A run that has not ended by then goes on, and this task is skipped. A run whose job has lost its file fails this
    task: Airflow leaves the run's tasks `up_for_reschedule` and the run `running`.

    Args:
        root: The project's directory.
        within: How long after the start of its own DAG run this task waits.
        kwargs: See `TriggerDagRunOperator`. `conf` and the other arguments are taken as they are.
    """

    template_fields: Sequence[str] = ()

    def __init__(self, *, root: str, within: timedelta, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.root = root
        self.within = within

    def execute(self, context: Context) -> None:
        """Make the run, and wait for its end if the request says so."""
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
            self._become(run, "late")
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

    def ended(self, context: Context, event: dict[str, Any], run: str) -> None:  # noqa: ARG002 - what a trigger calls
        """What the trigger has seen."""
        self.trigger_run_id = run
        self._become(run, event["status"])

    def _make_run(self, order: DagRunTriggerException) -> None:
        """As Airflow's task runner does, which would then wait without a deadline."""
        from airflow.sdk.exceptions import ErrorType  # noqa: PLC0415
        from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun  # noqa: PLC0415
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # noqa: PLC0415

        answer = SUPERVISOR_COMMS.send(
            TriggerDagRun(
                dag_id=order.trigger_dag_id,
                run_id=order.dag_run_id,
                logical_date=order.logical_date,
                conf=order.conf,
                reset_dag_run=False,
            )
        )
        if isinstance(answer, ErrorResponse) and answer.error != ErrorType.DAGRUN_ALREADY_EXISTS:
            raise AirflowFailException(f"no run of {order.trigger_dag_id} could be made: {answer.error.value}")

    def _become(self, run: str, status: Status) -> None:
        """End the task as the run's state says."""
        dag = self.trigger_dag_id
        match status:
            case "success":
                self.log.info("run %s of %s has ended well", run, dag)
            case "late":
                raise AirflowSkipException(
                    f"run {run} of {dag} goes on, and this sweep's time is up: the next sweep looks at the job again"
                )
            case "removed":
                raise AirflowFailException(removed_words(dag, run))
            case "deleted":
                raise AirflowFailException(f"run {run} of {dag} was deleted while it went on")
            case _:
                raise AirflowFailException(f"run {run} of {dag} has failed: its tasks say why")


def removed_words(dag: str, run: str) -> str:
    """What to say of a run whose job has lost its file.

    Args:
        dag: The deploy DAG's id.
        run: The run's id.
    """
    job = dag.removeprefix(_PREFIX)
    return (
        f"the file of {job} was removed while run {run} of {dag} went on: Airflow leaves that run as it is; put "
        f"{JOBS_PACKAGE}/{job}.py back, or mark the run as failed"
    )


class DeployRunTrigger(BaseTrigger):
    """Fires when a run of a deploy DAG has ended or was deleted, its job has lost its file, or the time is up.

    Args:
        dag_id: The deploy DAG.
        run_id: The run.
        file: The job's file.
        deadline: Unix time in seconds.
        pause: Seconds between two looks.
    """

    def __init__(self, *, dag_id: str, run_id: str, file: str, deadline: float, pause: float = _PAUSE) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dag_id = dag_id
        self.run_id = run_id
        self.file = file
        self.deadline = deadline
        self.pause = pause

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Class and arguments."""
        names = ("dag_id", "run_id", "file", "deadline", "pause")
        return f"{__name__}.DeployRunTrigger", {name: getattr(self, name) for name in names}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: {status}; see `Status`."""
        seen = time.monotonic()
        while True:
            status: Status | None = await sync_to_async(self._status)()
            if await sync_to_async(Path(self.file).exists)():
                seen = time.monotonic()
            elif time.monotonic() - seen >= _REMOVED_AFTER:
                status = status or "removed"
            if status is None and time.time() >= self.deadline:
                status = "late"
            if status is not None:
                yield TriggerEvent({"status": status})  # type: ignore[no-untyped-call]
                return
            await asyncio.sleep(max(0.0, min(self.pause, self.deadline - time.time())))

    def _status(self) -> Status | None:
        """How the run has ended; None: it goes on."""
        from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

        # The state of a run that was deleted is an error.
        if not RuntimeTaskInstance.get_dr_count(self.dag_id, run_ids=[self.run_id]):
            return "deleted"
        state = RuntimeTaskInstance.get_dagrun_state(self.dag_id, self.run_id)
        match state:
            case "success":
                return "success"
            case "failed":
                return "failed"
        return None
