"""deploy.<job>: creates a job's topics, packages and submits it, and checks that it runs inside its limits.

Pass notifiers here to be told of plans that wait for an approval.
"""

from pathlib import Path

from sluice.airflow.dags import deploy_dags

# Airflow takes what is a DAG at the top level of a module that names both "dag" and "airflow".
for dag in deploy_dags(Path(__file__).resolve().parents[1]):
    globals()[dag.dag_id] = dag
