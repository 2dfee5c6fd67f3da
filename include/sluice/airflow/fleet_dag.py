"""The DAG that keeps a fleet as it should be."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path

from airflow.sdk import DAG
from airflow.sdk.bases.notifier import BaseNotifier

from sluice.airflow.deploy_run import DeployRunOperator
from sluice.airflow.sweep import SweepOperator, VerifyOperator
from sluice.settings import Settings

_LONGEST = timedelta(hours=2)
"""How long a sweep waits for the runs that it makes where it has no interval, or a longer one."""
_SHORTEST = timedelta(minutes=15)
"""What a sweep has until Airflow ends it, however short its interval is: it looks at 1,000 jobs in two minutes."""
_FIRES = 50
"""Of a schedule, to find its shortest interval."""
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
A run that has not ended after one interval of the sweeps goes on, and the sweep waits for it no longer.
A suspended job stays so. Tries that come to nothing are made less and less often, and given up.
"""


def sweep_dag(root: Path, *, notifiers: Sequence[BaseNotifier] = ()) -> DAG:
    """The DAG redeploy_and_verify.

    Args:
        root: The project's directory.
        notifiers: Told when a job's verdict changes or it needs a person, with `changes` in their context.
    """
    settings = Settings(root=root)
    schedule = None if settings.sweep_schedule in (None, "none") else settings.sweep_schedule
    within = min(sweep_interval(schedule) or _LONGEST, _LONGEST)
    with DAG(
        dag_id="redeploy_and_verify",
        dag_display_name="redeploy and verify",
        description="Looks at the whole fleet, redeploys what has drifted, brings back what is down",
        doc_md=_DOC,
        schedule=schedule,
        catchup=False,
        # Whoever has deployed the fleet for the first time lets it be kept.
        is_paused_upon_creation=True,
        max_active_runs=1,
        # No other run looks at the fleet while this one goes on: one that hangs gives way to the next.
        # Later than the runs are waited for: the last task reports what has become of them.
        dagrun_timeout=max(2 * within, _SHORTEST),
        tags=["sluice", "fleet"],
        default_args={"owner": "data-platform", "retries": 1, "retry_delay": timedelta(seconds=10)},
    ) as dag:
        sweep = SweepOperator(
            task_id="sweep",
            root=str(root),
            notifiers=notifiers,
            budget=within / 3,
            doc_md="One look at every job; what each needs.",
        )
        operate = DeployRunOperator.partial(
            task_id="operate",
            root=str(root),
            within=within,
            deferrable=True,
            # A run of it would stay queued, and this one with it.
            fail_when_dag_is_paused=True,
            poke_interval=5,
            retries=0,
            max_active_tis_per_dagrun=settings.sweep_operations,
            map_index_template="{{ task.trigger_dag_id }}",
            doc_md="A run of deploy.<job> for each job that needs one; one that asks a person isn't waited for. "
            "Skipped where the run goes on after this sweep's time.",
        ).expand_kwargs(sweep.output)
        verify = VerifyOperator(
            task_id="verify",
            root=str(root),
            notifiers=notifiers,
            budget=within / 3,
            # It says what has become of a run that failed.
            trigger_rule="all_done",
            doc_md="Another look, when something was done; fails where that failed, a person has to look, or a "
            "notifier has failed.",
        )
        sweep >> operate >> verify
    return dag


def sweep_interval(schedule: str | None) -> timedelta | None:
    """The shortest time between two runs of a cron expression; None: it is none."""
    from airflow.utils.dates import cron_presets  # noqa: PLC0415
    from croniter import CroniterError, croniter  # type: ignore[import-untyped] # noqa: PLC0415

    if schedule is None:
        return None
    try:
        # The same moment each time: the DAG must not change from one parse to the next.
        fires = croniter(cron_presets.get(schedule, schedule), datetime(2026, 1, 1, tzinfo=UTC))
        times: list[datetime] = [fires.get_next(datetime) for _ in range(_FIRES)]
    except CroniterError:
        # Airflow says what is wrong with it, or knows it by a name that is no cron expression.
        return None
    return min(later - earlier for earlier, later in pairwise(times))
