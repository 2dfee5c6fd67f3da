"""The DAGs: deploy.<job> for each job of a project."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.assets import JobAssets, Lineage, read_lineage
from sluice.airflow.base import RETRIES
from sluice.airflow.deploy_tasks import deploy_tasks
from sluice.airflow.params import deploy_params, give_params
from sluice.airflow.parsing import nothing_to_collect
from sluice.deployment.catalog import BrokenFile, describe, read_catalog
from sluice.job.definition import Job
from sluice.job.names import is_job_name


def deploy_dags(root: Path, *, notifiers: Sequence[BaseNotifier] = ()) -> list[DAG]:
    """A DAG deploy.<job> for each job, and one for each broken file that shows what is wrong with it.

    Args:
        root: The project's directory.
        notifiers: Told when a plan waits for an approval, with `changes` in their context.
    """
    with nothing_to_collect():
        catalog, lineage = read_catalog(root), read_lineage(root)
        return [
            *(_deploy_dag(job, root, notifiers, lineage) for _, job in sorted(catalog.jobs.items())),
            *(_broken_dag(file) for file in catalog.broken),
        ]


def _deploy_dag(job: Job, root: Path, notifiers: Sequence[BaseNotifier], lineage: Lineage) -> DAG:
    """The job's DAG; where none can be made of it, one that says so: it must take no other job's away."""
    try:
        return deploy_dag(job, root, notifiers=notifiers, assets=lineage.of(job))
    except Exception as error:  # noqa: BLE001 - a job's settings and annotations are anybody's code
        return _broken_dag(BrokenFile(job.file, f"{job.place}: no DAG can be made of it: {describe(error)}"))


def deploy_dag(job: Job, root: Path, *, notifiers: Sequence[BaseNotifier] = (), assets: JobAssets | None = None) -> DAG:
    """The DAG that deploys a job: plan, approval, topics, package, switch-over, the three gates, and the way back."""
    with DAG(
        dag_id=f"deploy.{job.name}",
        dag_display_name=f"deploy {job.name}",
        description=job.description.partition("\n")[0],
        doc_md=_documentation(job),
        schedule=None,
        catchup=False,
        # One may wait for a person while another one works; those that work wait for each other by the ledger.
        max_active_runs=2,
        tags=["sluice", "deploy", *job.tags],
        default_args={"owner": job.owner, **RETRIES},
    ) as dag:
        common = {"job": job.name, "root": str(root)}
        deploy_tasks(common=common, notifiers=notifiers, health=job.health, assets=assets)
    give_params(dag, deploy_params(job.config))
    return dag


class BrokenJobOperator(BaseOperator):
    """Stands for a file of flink_jobs/ that gives no job.

    Args:
        error: What is wrong with it.
    """

    def __init__(self, *, error: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def execute(self, context: object) -> None:  # noqa: ARG002
        """Fail with the reason."""
        raise AirflowFailException(self.error)


def _broken_dag(file: BrokenFile) -> DAG:
    name = file.name
    if not is_job_name(name):
        # What Airflow takes as an id, and no job's: those have no hyphen. The digest tells `a b` from `a+b`.
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:6]
        name = f"{re.sub('[^A-Za-z0-9_]+', '-', name)[:100]}-{digest}"
    with DAG(
        dag_id=f"deploy.{name}",
        description=f"BROKEN: {file.error}",
        doc_md=f"This file gives no job:\n\n{_as_code(file.error)}\n\nMend it; the DAG follows within seconds.",
        schedule=None,
        tags=["sluice", "deploy", "broken"],
    ) as dag:
        BrokenJobOperator(task_id="mend_the_file", error=file.error)
    return dag


def _as_code(text: str) -> str:
    """Text that Markdown shows as it is: each of its lines belongs to one block of code."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _documentation(job: Job) -> str:
    topics = [f"| reads | `{topic.topic}` | {topic.partitions} |" for topic in job.reads.values()]
    topics += [f"| writes | `{topic.topic}` | {topic.partitions} |" for topic in job.sinks.values()]
    table = "\n".join(["| | topic | partitions |", "|---|---|---|", *topics])
    return f"{job.description}\n\n{table}\n\nDefined in `{job.module}`; settings in `deployments/`."
