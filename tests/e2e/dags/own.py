"""DAGs that only the tests use, in one file: the DAG processor parses each file again every few seconds."""

import os
from datetime import timedelta
from pathlib import Path

from airflow.sdk import DAG

from sluice.airflow import BackfillOperator, DeployOperator, backfill_group
from sluice.airflow.deploy_tasks import deploy_group
from sluice.airflow.gates import GateOperator
from sluice.airflow.operators import (
    CreateTopicsOperator,
    PackageOperator,
    PlanOperator,
    SettleOperator,
    SwitchOverOperator,
)
from sluice.airflow.params import deploy_params, set_params
from sluice.job.config import NoConfig

# Gates that can't be passed.
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

# A deploy that needs an approval, and waits for it for seconds only.
with DAG("impatient", schedule=None):
    deploy_group(
        "processing_metrics",
        group_id="deploy",
        config={"metrics_window_minutes": 30},
        patience=timedelta(seconds=20),
        pool="impatient",
    )

# A deploy whose run is marked as failed while it waits at a gate.
with DAG("given_up", schedule=None):
    DeployOperator(
        task_id="deploy",
        job="event_metrics",
        config={"event_types": ["click", "page_view"]},
        retries=2,
        pool="given_up",
    )

# A deploy whose plan loses state, without an approval.
with DAG("refused", schedule=None):
    DeployOperator(task_id="deploy", job="performance_metrics", config={"window": "33s"}, retries=2)

# One range, which the run's configuration gives, replayed by one task and then by a group.
RANGE = {"start": "{{ dag_run.conf['start'] }}", "end": "{{ dag_run.conf['end'] }}"}
ASKED = {**RANGE, "chunk": "60s", "accept_missing": True}
with DAG("one_range", schedule=None, render_template_as_native_obj=True):
    one = BackfillOperator(task_id="one", job="event_metrics", asked=ASKED, retries=2)
    one >> backfill_group("event_metrics", asked=ASKED)

# A project whose cluster and brokers are Airflow connections with passwords.
with DAG("guarded", schedule=None, render_template_as_native_obj=True) as guarded:
    common = {"job": "guarded", "root": str(Path(__file__).parents[1]), "environment": "guarded"}
    plan = PlanOperator(task_id="plan", **common)
    topics = CreateTopicsOperator(task_id="create_topics", **common)
    package = PackageOperator(task_id="package", **common)
    switch = SwitchOverOperator(task_id="switch_over", plan=plan.output, **common)
    running = GateOperator(task_id="check_running", gate="running", started=switch.output, **common)
    lag = GateOperator(task_id="check_consumer_lag", gate="consumer_lag", started=switch.output, **common)
    settle = SettleOperator(task_id="settle", started=switch.output, **common)
    plan >> topics >> package >> switch >> running >> lag >> settle
set_params(guarded, deploy_params(NoConfig))
