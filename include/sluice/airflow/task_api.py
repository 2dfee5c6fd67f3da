"""Requests of a task or trigger to Airflow for which Airflow 3.3 has no public function.

Everything that Sluice uses of Airflow's task runner is here. tests/unit/airflow/test_task_api.py compares it with the
installed Airflow.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.providers.standard.operators.hitl import HITLOperator
    from airflow.sdk.exceptions import ErrorType


def create_question(task: HITLOperator, task_instance: Any) -> str:
    """Have Airflow show the question of a human-in-the-loop task; the text that it shows.

    Airflow keeps the first question of a task: clearing the task deletes the answer, and a new question of the cleared
    task is ignored. `airflow.sdk.execution_time.hitl.upsert_hitl_detail` sends the same request, and does not return
    the response.

    Args:
        task: The task, with subject, body and options.
        task_instance: `context["ti"]`.
    """
    from airflow.sdk.execution_time.comms import CreateHITLDetailPayload, HITLDetailRequestResult  # noqa: PLC0415
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # noqa: PLC0415

    shown = SUPERVISOR_COMMS.send(
        CreateHITLDetailPayload(
            ti_id=task_instance.id,
            options=task.options,
            subject=task.subject,
            body=task.body,
            defaults=task.defaults,
            params=task.serialized_params,
            multiple=task.multiple,
            assigned_users=task.assigned_users or [],
        )
    )
    return (shown.body or "") if isinstance(shown, HITLDetailRequestResult) else ""


def trigger_run(
    dag_id: str, run_id: str, logical_date: datetime | None, conf: Mapping[str, Any] | None
) -> ErrorType | None:
    """Trigger a run of a DAG; the error with which Airflow refused it, or None.

    `TriggerDagRunOperator` leaves this to the task runner, which then waits for the run without a time limit.
    """
    from airflow.sdk.execution_time.comms import ErrorResponse, TriggerDagRun  # noqa: PLC0415
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # noqa: PLC0415

    answer = SUPERVISOR_COMMS.send(
        TriggerDagRun(dag_id=dag_id, run_id=run_id, logical_date=logical_date, conf=conf, reset_dag_run=False)
    )
    return answer.error if isinstance(answer, ErrorResponse) else None


def run_state(dag_id: str, run_id: str) -> str | None:
    """The state of a run; None: there is no such run, for instance because it was deleted.

    A task has these requests as methods of `context["ti"]`; a trigger has no such object.
    """
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance  # noqa: PLC0415

    # Airflow answers a request for the state of a deleted run with an error.
    if not RuntimeTaskInstance.get_dr_count(dag_id, run_ids=[run_id]):
        return None
    state: str = RuntimeTaskInstance.get_dagrun_state(dag_id, run_id)
    return state
