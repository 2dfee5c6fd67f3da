"""The DAGs: deploy.<job> for each job of a project."""

from __future__ import annotations

import hashlib
import re
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.gates import GateOperator
from sluice.airflow.operators import (
    CreateTopicsOperator,
    PackageOperator,
    PlanOperator,
    RollBackOperator,
    SettleOperator,
    SwitchOverOperator,
)
from sluice.airflow.params import deploy_params, give_params
from sluice.airflow.parsing import nothing_to_collect
from sluice.deployment.catalog import BrokenFile, read_catalog
from sluice.job.definition import Job
from sluice.job.names import is_job_name

_RETRIES = {"retries": 2, "retry_delay": timedelta(seconds=10), "retry_exponential_backoff": True}


def deploy_dags(root: Path) -> list[DAG]:
    """A DAG deploy.<job> for each job, and one for each broken file that shows what is wrong with it."""
    with nothing_to_collect():
        catalog = read_catalog(root)
        return [
            *(deploy_dag(job, root) for _, job in sorted(catalog.jobs.items())),
            *(_broken_dag(file) for file in catalog.broken),
        ]


def deploy_dag(job: Job, root: Path) -> DAG:
    """The DAG that deploys a job: plan, topics, package, switch-over, the three gates, and the way back."""
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
        render_template_as_native_obj=True,
    ) as dag:
        # What has nothing to do (topics of a rollback, gates of a suspended job) is skipped, and hinders nothing.
        common: dict[str, Any] = {"job": job.name, "root": str(root), "trigger_rule": "none_failed"}
        plan = PlanOperator(
            task_id="plan",
            doc_md="Compares what is desired with what runs: every change, what becomes of the state, the stages.",
            **common,
        )
        topics = CreateTopicsOperator(
            task_id="create_topics",
            doc_md="Compares the job's topics with the broker and creates what is missing.",
            **common,
        )
        package = PackageOperator(task_id="package", doc_md="Stores the job's code, named by its content.", **common)
        switch = SwitchOverOperator(
            task_id="switch_over",
            plan=plan.output,
            doc_md="Compiles the release; once its client waits, stops the running job with a savepoint and starts the "
            "new one from it. Each effect is recorded before it is done.",
            **common,
        )
        running = GateOperator(
            task_id="check_running",
            gate="running",
            started=switch.output,
            doc_md="Restored as intended, all tasks run, and the first checkpoint is complete.",
            **common,
        )
        lag = GateOperator(
            task_id="check_consumer_lag",
            gate="consumer_lag",
            started=switch.output,
            doc_md=f"At most {job.health.consumer_lag:,} records behind, unless the deployment says otherwise.",
            **common,
        )
        watermark = GateOperator(
            task_id="check_watermark",
            gate="watermark",
            started=switch.output,
            doc_md=f"Event time at most {job.health.watermark_lag} behind, unless the deployment says otherwise.",
            **common,
        )
        settle = SettleOperator(
            task_id="settle",
            started=switch.output,
            doc_md="Marks the release healthy, measures the downtime, thins old savepoints.",
            **common,
        )
        back = RollBackOperator(
            task_id="roll_back",
            doc_md="After a failure: runs the former release again, from the state that it stopped with.",
            **common | {"trigger_rule": "one_failed"},
        )
        plan >> topics >> package >> switch >> running >> lag >> watermark >> settle
        [switch, running, lag, watermark] >> back
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
