"""A deploy that needs an approval, as a group of tasks, and waits for it for seconds only."""

from datetime import timedelta

from airflow.sdk import DAG

from sluice.airflow.deploy_tasks import deploy_group

with DAG("impatient", schedule=None):
    deploy_group(
        "processing_metrics",
        group_id="deploy",
        config={"metrics_window_minutes": 30},
        patience=timedelta(seconds=10),
        pool="impatient",
    )
