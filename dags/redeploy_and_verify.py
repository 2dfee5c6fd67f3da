"""redeploy_and_verify: redeploys jobs that differ from their desired state, and restarts jobs that are down.

Pass notifiers to `sweep_dag`: they are called when a verdict changes, or a job needs a person.
"""

from pathlib import Path

from sluice.airflow.dags import sweep_dag

# Airflow parses files whose text contains both "dag" and "airflow", and collects the DAGs at their top level.
redeploy_and_verify = sweep_dag(Path(__file__).resolve().parents[1])
