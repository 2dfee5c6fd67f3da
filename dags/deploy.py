"""deploy.<job>: creates a job's topics, packages and submits it, and checks that it runs inside its limits.

Pass notifiers here to get a message when a plan waits for an approval.
"""

from pathlib import Path

from sluice.airflow.dags import deploy_dags

# Airflow collects the DAGs at the top level of modules whose text has both "dag" and "airflow".
for dag in deploy_dags(Path(__file__).resolve().parents[1]):
    globals()[dag.dag_id] = dag
