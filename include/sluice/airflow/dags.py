"""The DAGs: deploy.<job> for each job of a project."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator, Param
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.operators import CreateTopicsOperator, GateOperator, PackageOperator, SubmitOperator
from sluice.deployment.catalog import BrokenFile, read_catalog
from sluice.job.definition import Job
from sluice.job.names import is_job_name

_RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": True}


def deploy_dags(root: Path) -> list[DAG]:
    """A DAG deploy.<job> for each job, and one for each broken file that shows what is wrong with it."""
    catalog = read_catalog(root)
    return [
        *(deploy_dag(job, root) for _, job in sorted(catalog.jobs.items())),
        *(_broken_dag(file) for file in catalog.broken),
    ]


def deploy_dag(job: Job, root: Path) -> DAG:
    """The DAG that deploys a job: topics, package, submit, and the three gates."""
    with DAG(
        dag_id=f"deploy.{job.name}",
        dag_display_name=f"deploy {job.name}",
        description=job.description.partition("\n")[0],
        doc_md=_documentation(job),
        schedule=None,
        catchup=False,
        # One operation per job: a second run waits for the first.
        max_active_runs=1,
        tags=["sluice", "deploy", *job.tags],
        default_args={"owner": job.owner, **_RETRIES},
        params={
            "grow_partitions": Param(
                default=False,
                type="boolean",
                title="Add partitions",
                description="Where a topic has too few. Keys move.",
            ),
            "change_topics": Param(
                default=False,
                type="boolean",
                title="Change topic settings",
                description="To those that the job declares.",
            ),
        },
        render_template_as_native_obj=True,
    ) as dag:
        common: dict[str, Any] = {"job": job.name, "root": str(root)}
        topics = CreateTopicsOperator(
            task_id="create_topics",
            grow_partitions="{{ params.grow_partitions }}",
            change_settings="{{ params.change_topics }}",
            doc_md="Compares the job's topics with the broker and creates what is missing.",
            **common,
        )
        package = PackageOperator(task_id="package", doc_md="Stores the job's code, and numbers the release.", **common)
        submit = SubmitOperator(
            task_id="submit",
            release=package.output,
            doc_md="Compiles the release and submits it under a Flink job id that is recorded first.",
            **common,
        )
        running = GateOperator(
            task_id="check_running",
            gate="running",
            started=submit.output,
            doc_md="All tasks run, and the first checkpoint is complete.",
            **common,
        )
        lag = GateOperator(
            task_id="check_consumer_lag",
            gate="consumer_lag",
            started=submit.output,
            doc_md=f"At most {job.health.consumer_lag:,} records behind, unless the deployment says otherwise.",
            **common,
        )
        watermark = GateOperator(
            task_id="check_watermark",
            gate="watermark",
            started=submit.output,
            settles=True,
            doc_md=f"Event time at most {job.health.watermark_lag} behind, unless the deployment says otherwise.",
            **common,
        )
        topics >> package >> submit >> running >> lag >> watermark
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
        doc_md=f"This file gives no job:\n\n    {file.error}\n\nMend it; the DAG follows within seconds.",
        schedule=None,
        tags=["sluice", "deploy", "broken"],
    ) as dag:
        BrokenJobOperator(task_id="mend_the_file", error=file.error)
    return dag


def _documentation(job: Job) -> str:
    topics = [f"| reads | `{topic.topic}` | {topic.partitions} |" for topic in job.reads.values()]
    topics += [f"| writes | `{topic.topic}` | {topic.partitions} |" for topic in job.sinks.values()]
    table = "\n".join(["| | topic | partitions |", "|---|---|---|", *topics])
    return f"{job.description}\n\n{table}\n\nDefined in `{job.module}`; settings in `deployments/`."
