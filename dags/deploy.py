"""deploy.<job>: creates a job's topics, packages and submits it, and checks its limits.

Pass notifiers to `deploy_dags`: they are called when a plan waits for an approval.
"""

from pathlib import Path

from sluice.airflow.dags import deploy_dags

# Airflow parses files whose text contains both "dag" and "airflow", and collects the DAGs at their top level.
for dag in deploy_dags(Path(__file__).resolve().parents[1]):
    globals()[dag.dag_id] = dag
