"""A deploy as one task; its run is marked as failed while it waits at a gate."""

from airflow.sdk import DAG

from sluice.airflow import DeployOperator

with DAG("given_up", schedule=None):
    DeployOperator(
        task_id="deploy", job="event_metrics", config={"event_types": ["page_view"]}, retries=2, pool="given_up"
    )
