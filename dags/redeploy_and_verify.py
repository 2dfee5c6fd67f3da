"""redeploy_and_verify: keeps every job as it should be.

Pass notifiers here to be told of verdicts that change, and of jobs that need a person.
"""

from pathlib import Path

from sluice.airflow.dags import sweep_dag

# Airflow takes what is a DAG at the top level of a module that names both "dag" and "airflow".
redeploy_and_verify = sweep_dag(Path(__file__).resolve().parents[1])
