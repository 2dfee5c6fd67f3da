"""backfill.<job>: replays a range of a job's history, and holds the rows against the live ones."""

from pathlib import Path

from sluice.airflow.dags import backfill_dags

# Airflow takes what is a DAG at the top level of a module that names both "dag" and "airflow".
for dag in backfill_dags(Path(__file__).resolve().parents[1]):
    globals()[dag.dag_id] = dag
