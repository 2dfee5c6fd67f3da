"""backfill.<job>: replays a range of a job's history, and compares the rows with the live ones."""

from pathlib import Path

from sluice.airflow.dags import backfill_dags

# Airflow parses files whose text contains both "dag" and "airflow", and collects the DAGs at their top level.
for dag in backfill_dags(Path(__file__).resolve().parents[1]):
    globals()[dag.dag_id] = dag
