"""The DAG that keeps a fleet as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path

from airflow.providers.standard.operators.trigger_dagrun import TriggerDagRunOperator
from airflow.sdk import DAG
from airflow.sdk.bases.notifier import BaseNotifier

from sluice.airflow.sweep import SweepOperator, VerifyOperator
from sluice.settings import Settings

_LONGEST = timedelta(hours=2)
_DOC = """
Looks at every job of the fleet, records what it sees, and does what is needed:

| | |
|---|---|
| drift | a job that differs from the deployment file or its code is redeployed |
| down | one that should run and doesn't is started from its newest retained checkpoint |
| gone bad | a fresh release that fails or stands still by its own code or state gives way to the former one |
| ask | what loses state, going back as well, waits for an approval in a run of its own: once for each thing desired |
| report | what needs a person (an approval, a job that nobody declares, one that was given up) stands in the log |

Of a report the notifiers are told once. Where the job is down, each run fails; where it runs, one run does.
A suspended job stays so. Tries that come to nothing are made less and less often, and given up.
"""


def sweep_dag(root: Path, *, notifiers: Sequence[BaseNotifier] = ()) -> DAG:
    """The DAG redeploy_and_verify.

    Args:
        root: The project's directory.
        notifiers: Told when a job's verdict changes or it needs a person, with `changes` in their context.
    """
    settings = Settings(root=root)
    schedule = settings.sweep_schedule
    with DAG(
        dag_id="redeploy_and_verify",
        dag_display_name="redeploy and verify",
        description="Looks at the whole fleet, redeploys what has drifted, brings back what is down",
        doc_md=_DOC,
        schedule=None if schedule in (None, "none") else schedule,
        catchup=False,
        # Whoever has deployed the fleet for the first time lets it be kept.
        is_paused_upon_creation=True,
        max_active_runs=1,
        # Nobody looks at the fleet while a run goes on: one whose deploys don't end gives way to the next.
        dagrun_timeout=_LONGEST,
        tags=["sluice", "fleet"],
        default_args={"owner": "data-platform", "retries": 1, "retry_delay": timedelta(seconds=10)},
    ) as dag:
        sweep = SweepOperator(
            task_id="sweep",
            root=str(root),
            notifiers=notifiers,
            doc_md="One look at every job; what each needs.",
        )
        operate = TriggerDagRunOperator.partial(
            task_id="operate",
            deferrable=True,
            # A run of it would stay queued, and this one with it.
            fail_when_dag_is_paused=True,
            poke_interval=5,
            retries=0,
            max_active_tis_per_dagrun=settings.sweep_operations,
            map_index_template="{{ task.trigger_dag_id }}",
            doc_md="A run of deploy.<job> for each job that needs one; one that asks a person isn't waited for.",
        ).expand_kwargs(sweep.output)
        verify = VerifyOperator(
            task_id="verify",
            root=str(root),
            notifiers=notifiers,
            # It says what has become of a run that failed.
            trigger_rule="all_done",
            doc_md="Another look, when something was done; fails where that failed, a person has to look, or a "
            "notifier has failed.",
        )
        sweep >> operate >> verify
    return dag
