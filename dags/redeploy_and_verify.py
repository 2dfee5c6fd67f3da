"""redeploy_and_verify: checks every job, redeploys changed ones and restarts those that are down.

Pass notifiers here to get a message when a verdict changes or a job needs a person.
"""

from pathlib import Path

from sluice.airflow.dags import sweep_dag

# Airflow collects the DAGs at the top level of modules whose text has both "dag" and "airflow".
redeploy_and_verify = sweep_dag(Path(__file__).resolve().parents[1])
