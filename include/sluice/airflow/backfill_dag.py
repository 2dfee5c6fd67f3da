"""The DAGs backfill.<job>: history through a job again, in chunks, held against what is live."""

from __future__ import annotations

import logging
from pathlib import Path

from airflow.sdk import DAG

from sluice.airflow.assets import JobAssets, Lineage, read_lineage
from sluice.airflow.backfill import replay_tasks
from sluice.airflow.base import RETRIES
from sluice.airflow.params import give_params
from sluice.airflow.parsing import nothing_to_collect
from sluice.airflow.replay_params import replay_params
from sluice.airflow.timetable import IntervalsOnRequest
from sluice.deployment.catalog import read_catalog
from sluice.job.definition import Job

_log = logging.getLogger(__name__)
INTERVAL = "@daily"
"""The data intervals of Airflow's own backfills."""
_DOC = """
Runs a range of the history of **{job}** again: the same pipeline, bounded, with state, consumer group and output of its
own. The live job goes on untouched.

From the trigger form with *From* and *To*, or with Airflow's own backfill, a run for each day.
The range's rows are then held against the live ones; *Promote* writes them into the live topic.
"""


def backfill_dags(root: Path) -> list[DAG]:
    """A DAG backfill.<job> for each job that declares a replay."""
    with nothing_to_collect():
        jobs, lineage = read_catalog(root).jobs, read_lineage(root)
        made = (_backfill_dag(job, root, lineage) for _, job in sorted(jobs.items()) if job.replay is not None)
        return [dag for dag in made if dag is not None]


def _backfill_dag(job: Job, root: Path, lineage: Lineage) -> DAG | None:
    """The job's DAG; None where none can be made of it: its deploy DAG says why."""
    try:
        return backfill_dag(job, root, lineage.of(job))
    except Exception:  # noqa: BLE001 - as for the deploy DAG
        _log.exception("%s: no DAG can be made of it", job.name)
        return None


def backfill_dag(job: Job, root: Path, assets: JobAssets | None = None) -> DAG:
    """The DAG that replays a job: plan, a task for each chunk, report, promote; and what ends a run given up."""
    common = {"job": job.name, "root": str(root)}
    with DAG(
        dag_id=f"backfill.{job.name}",
        dag_display_name=f"backfill {job.name}",
        description=f"Replays history through {job.name}",
        doc_md=_DOC.format(job=job.name),
        schedule=IntervalsOnRequest(INTERVAL, timezone="UTC"),
        catchup=False,
        start_date=None,
        # They share the task slots that the job's replay rule allows.
        max_active_runs=1,
        tags=["sluice", "backfill", *job.tags],
        default_args={"owner": job.owner, **RETRIES},
    ) as dag:
        replay_tasks(common=common, assets=assets)
    give_params(dag, replay_params(job.config))
    return dag
