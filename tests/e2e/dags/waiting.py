"""Gates that can't be passed: as many as SLUICE_AUDIT_GATES says."""

import os
from datetime import timedelta

from airflow.sdk import DAG

from sluice.airflow.gates import GateOperator

COUNT = int(os.environ.get("SLUICE_AUDIT_GATES", "4"))

with DAG("waiting", schedule=None, max_active_tasks=COUNT):
    for number in range(COUNT):
        GateOperator(
            task_id=f"gate_{number}",
            job="event_metrics",
            gate="checkpoint",
            patience=timedelta(minutes=15),
            pool="waiting",
        )
