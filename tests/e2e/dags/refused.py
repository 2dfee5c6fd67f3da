"""A deploy as one task, whose plan loses state without an approval."""

from airflow.sdk import DAG

from sluice.airflow import DeployOperator

with DAG("refused", schedule=None):
    DeployOperator(task_id="deploy", job="performance_metrics", config={"window": "33s"}, retries=2)
