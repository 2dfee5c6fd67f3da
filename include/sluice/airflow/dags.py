"""The DAGs of a project: deploy.<job>, backfill.<job> and redeploy_and_verify."""

from __future__ import annotations

import gc
import hashlib
import logging
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, BaseOperator
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.assets import JobAssets, Lineage, read_lineage
from sluice.airflow.backfill import replay_tasks
from sluice.airflow.base import RETRIES
from sluice.airflow.deploy_run import DeployRunOperator
from sluice.airflow.deploy_tasks import deploy_tasks
from sluice.airflow.params import deploy_params, replay_params, set_params
from sluice.airflow.sweep import SweepOperator, VerifyOperator
from sluice.airflow.timetable import IntervalsOnRequest
from sluice.deployment.catalog import BrokenFile, describe_import_error, read_catalog
from sluice.job.definition import Job
from sluice.job.names import is_job_name
from sluice.settings import Settings


@contextmanager
def gc_paused() -> Iterator[None]:
    """Pause Python's cyclic garbage collector.

    The DAGs stay in memory, so that the collector would only traverse them repeatedly: with 1,000 jobs for a
    quarter of the parse time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def deploy_dags(root: Path, *, notifiers: Sequence[BaseNotifier] = ()) -> list[DAG]:
    """A DAG deploy.<job> for each job, and one for each broken file, which shows its error.

    Args:
        root: The project's directory.
        notifiers: Called with `changes` in their context when a plan waits for an approval.
    """
    with gc_paused():
        catalog, lineage = read_catalog(root), read_lineage(root)
        return [
            *(_deploy_dag(job, root, notifiers, lineage) for _, job in sorted(catalog.jobs.items())),
            *(_broken_dag(file) for file in catalog.broken),
        ]


def _deploy_dag(job: Job, root: Path, notifiers: Sequence[BaseNotifier], lineage: Lineage) -> DAG:
    """The job's DAG; if it can't be made, a DAG that shows the error: one job must not remove the other jobs' DAGs."""
    try:
        return deploy_dag(job, root, notifiers=notifiers, assets=lineage.of(job))
    except Exception as error:  # noqa: BLE001 - settings and annotations are the job's own code
        return _broken_dag(BrokenFile(job.file, f"{job.place}: its DAG can't be made: {describe_import_error(error)}"))


def deploy_dag(job: Job, root: Path, *, notifiers: Sequence[BaseNotifier] = (), assets: JobAssets | None = None) -> DAG:
    """The DAG that deploys a job: plan, approval, topics, package, switch-over, the three gates, and the rollback."""
    with DAG(
        dag_id=f"deploy.{job.name}",
        dag_display_name=f"deploy {job.name}",
        description=job.description.partition("\n")[0],
        doc_md=_documentation(job),
        schedule=None,
        catchup=False,
        # One run may wait for an approval while another one deploys; the ledger's lock admits one deploy at a time.
        max_active_runs=2,
        tags=["sluice", "deploy", *job.tags],
        default_args={"owner": job.owner, **RETRIES},
    ) as dag:
        common = {"job": job.name, "root": str(root)}
        deploy_tasks(common=common, notifiers=notifiers, health=job.health, assets=assets)
    set_params(dag, deploy_params(job.config))
    return dag


class BrokenJobOperator(BaseOperator):
    """Fails with the error of a file of flink_jobs/ that defines no valid job.

    Args:
        error: The error.
    """

    def __init__(self, *, error: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.error = error

    def execute(self, context: object) -> None:  # noqa: ARG002
        """Fail with the error."""
        raise AirflowFailException(self.error)


def _broken_dag(file: BrokenFile) -> DAG:
    name = file.name
    if not is_job_name(name):
        # A valid DAG id that is no job's: those have no hyphen. The digest distinguishes `a b` from `a+b`.
        digest = hashlib.sha256(name.encode(errors="surrogateescape")).hexdigest()[:6]
        name = f"{re.sub('[^A-Za-z0-9_]+', '-', name)[:100]}-{digest}"
    with DAG(
        dag_id=f"deploy.{name}",
        description=f"BROKEN: {file.error}",
        doc_md=f"This file defines no job:\n\n{_as_code(file.error)}\n\n"
        "Correct the file; the job's DAG appears within seconds.",
        schedule=None,
        tags=["sluice", "deploy", "broken"],
    ) as dag:
        BrokenJobOperator(task_id="mend_the_file", error=file.error)
    return dag


def _as_code(text: str) -> str:
    """The text as one Markdown code block, which shows it unchanged."""
    return "\n".join(f"    {line}" for line in text.splitlines())


def _documentation(job: Job) -> str:
    topics = [f"| reads | `{topic.topic}` | {topic.partitions} |" for topic in job.reads.values()]
    topics += [f"| writes | `{topic.topic}` | {topic.partitions} |" for topic in job.sinks.values()]
    table = "\n".join(["| | topic | partitions |", "|---|---|---|", *topics])
    return f"{job.description}\n\n{table}\n\nDefined in `{job.module}`; settings in `deployments/`."


_log = logging.getLogger(__name__)
INTERVAL = "@daily"
"""The schedule that gives the data intervals of Airflow's own backfills."""
_BACKFILL_DOC = """
Runs a range of the history of **{job}** through the same pipeline again, as bounded Flink jobs with their own state,
consumer group and output topic. The live job is not changed.

Set *From* and *To* in the trigger form, or use Airflow's own backfill, with one run for each day.
The rows are then compared with the live ones. *Promote* writes them into the live topic.
"""


def backfill_dags(root: Path) -> list[DAG]:
    """A DAG backfill.<job> for each job that declares a replay."""
    with gc_paused():
        jobs, lineage = read_catalog(root).jobs, read_lineage(root)
        made = (_backfill_dag(job, root, lineage) for _, job in sorted(jobs.items()) if job.replay is not None)
        return [dag for dag in made if dag is not None]


def _backfill_dag(job: Job, root: Path, lineage: Lineage) -> DAG | None:
    """The job's DAG; None if it can't be made: its deploy DAG shows the error."""
    try:
        return backfill_dag(job, root, lineage.of(job))
    except Exception:  # noqa: BLE001 - as for the deploy DAG
        _log.exception("%s: its backfill DAG can't be made", job.name)
        return None


def backfill_dag(job: Job, root: Path, assets: JobAssets | None = None) -> DAG:
    """The DAG that replays a job: plan, a task for each chunk, report, promote, and the teardown of its Flink jobs."""
    common = {"job": job.name, "root": str(root)}
    with DAG(
        dag_id=f"backfill.{job.name}",
        dag_display_name=f"backfill {job.name}",
        description=f"Replays history through {job.name}",
        doc_md=_BACKFILL_DOC.format(job=job.name),
        schedule=IntervalsOnRequest(INTERVAL, timezone="UTC"),
        catchup=False,
        start_date=None,
        # Runs share the task slots that the job's replay rule allows.
        max_active_runs=1,
        tags=["sluice", "backfill", *job.tags],
        default_args={"owner": job.owner, **RETRIES},
    ) as dag:
        replay_tasks(common=common, assets=assets)
    set_params(dag, replay_params(job.config))
    return dag


_LONGEST_SWEEP = timedelta(hours=2)
"""The longest time that a sweep waits for its runs: also if its interval is longer, or it has none."""
_SHORTEST_RUN = timedelta(minutes=15)
"""The shortest timeout of a sweep, whatever its interval is: checking 1,000 jobs takes two minutes."""
_FIRES = 50
"""How many runs of a schedule are compared to find its shortest interval."""
_FLEET_DOC = """
Checks every job of the fleet, records the results in the ledger, and triggers the operations that jobs need:

| finding | action |
|---|---|
| a job differs from its deployment file or code | redeploy it |
| a job should be running and isn't | start it from its newest retained checkpoint |
| a new release fails, or makes no progress, because of its own code or state | roll back to the release before it |
| a redeploy or rollback would lose state | trigger a run that waits for an approval, once for each desired state |
| a job needs a person: an approval, an undeclared Flink job, retries that have ended | report it in the log |

Notifiers are called once for each report. While the job is down, each run of this DAG fails; while it runs, one does.
A triggered run that takes longer than one interval continues; the sweep no longer waits for it.
Suspended jobs stay suspended. Failed attempts are retried at growing intervals, up to a limit.
"""


def sweep_dag(root: Path, *, notifiers: Sequence[BaseNotifier] = ()) -> DAG:
    """The DAG redeploy_and_verify.

    Args:
        root: The project's directory.
        notifiers: Called with `changes` in their context when a job's verdict changes or it needs a person.
    """
    settings = Settings(root=root)
    schedule = None if settings.sweep_schedule in (None, "none") else settings.sweep_schedule
    within = min(sweep_interval(schedule) or _LONGEST_SWEEP, _LONGEST_SWEEP)
    with DAG(
        dag_id="redeploy_and_verify",
        dag_display_name="redeploy and verify",
        description="Checks all jobs, redeploys those that differ from code or settings, restarts those that are down",
        doc_md=_FLEET_DOC,
        schedule=schedule,
        catchup=False,
        # Paused until the first deployment of the fleet: otherwise the sweep would start it.
        is_paused_upon_creation=True,
        max_active_runs=1,
        # A run that hangs must end, since no other one checks the fleet. The timeout is longer than the
        # wait for the deploy runs, whose results the last task reports.
        dagrun_timeout=max(2 * within, _SHORTEST_RUN),
        tags=["sluice", "fleet"],
        default_args={"owner": "data-platform", "retries": 1, "retry_delay": timedelta(seconds=10)},
    ) as dag:
        sweep = SweepOperator(
            task_id="sweep",
            root=str(root),
            notifiers=notifiers,
            budget=within / 3,
            doc_md="Checks every job and decides what it needs.",
        )
        operate = DeployRunOperator.partial(
            task_id="operate",
            root=str(root),
            within=within,
            deferrable=True,
            # A run of a paused DAG stays queued, and this one would wait for it.
            fail_when_dag_is_paused=True,
            poke_interval=5,
            retries=0,
            max_active_tis_per_dagrun=settings.sweep_operations,
            map_index_template="{{ task.trigger_dag_id }}",
            doc_md="Triggers deploy.<job> for each job that needs an operation, and waits for the run, unless it waits "
            "for an approval. Skipped if the run takes longer than this sweep may wait.",
        ).expand_kwargs(sweep.output)
        verify = VerifyOperator(
            task_id="verify",
            root=str(root),
            notifiers=notifiers,
            budget=within / 3,
            # It also reports runs that failed.
            trigger_rule="all_done",
            doc_md="Checks the jobs again if an operation ran. Fails if an operation failed, a job needs a person, or "
            "a notifier failed.",
        )
        sweep >> operate >> verify
    return dag


def sweep_interval(schedule: str | None) -> timedelta | None:
    """The shortest time between two runs of a cron expression; None: the schedule isn't one."""
    from airflow.utils.dates import cron_presets  # noqa: PLC0415
    from croniter import CroniterError, croniter  # type: ignore[import-untyped] # noqa: PLC0415

    if schedule is None:
        return None
    try:
        # A fixed start: the DAG must not change from one parse to the next.
        fires = croniter(cron_presets.get(schedule, schedule), datetime(2026, 1, 1, tzinfo=UTC))
        times: list[datetime] = [fires.get_next(datetime) for _ in range(_FIRES)]
    except CroniterError:
        # Airflow reports the error, or has a preset of that name that is no cron expression.
        return None
    return min(later - earlier for earlier, later in pairwise(times))
