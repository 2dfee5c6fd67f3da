"""The tasks of a deploy, of a project whose cluster and brokers are Airflow connections with passwords."""

from pathlib import Path

from airflow.sdk import DAG

from sluice.airflow.gates import GateOperator
from sluice.airflow.operators import (
    CreateTopicsOperator,
    PackageOperator,
    PlanOperator,
    SettleOperator,
    SwitchOverOperator,
)
from sluice.airflow.params import deploy_params, give_params
from sluice.job.config import NoConfig

with DAG("guarded", schedule=None, render_template_as_native_obj=True) as dag:
    common = {"job": "guarded", "root": str(Path(__file__).parents[1]), "environment": "guarded"}
    plan = PlanOperator(task_id="plan", **common)
    topics = CreateTopicsOperator(task_id="create_topics", **common)
    package = PackageOperator(task_id="package", **common)
    switch = SwitchOverOperator(task_id="switch_over", plan=plan.output, **common)
    running = GateOperator(task_id="check_running", gate="running", started=switch.output, **common)
    lag = GateOperator(task_id="check_consumer_lag", gate="consumer_lag", started=switch.output, **common)
    settle = SettleOperator(task_id="settle", started=switch.output, **common)
    plan >> topics >> package >> switch >> running >> lag >> settle
give_params(dag, deploy_params(NoConfig))
