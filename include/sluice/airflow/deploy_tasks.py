"""The tasks of a deploy, one after the other: those of deploy.<job>, and a group of the same in DAGs of your own."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import TaskGroup
from airflow.sdk.bases.notifier import BaseNotifier

from sluice.airflow.approve import ApproveOperator
from sluice.airflow.assets import JobAssets, job_asset
from sluice.airflow.base import RETRIES
from sluice.airflow.gates import GateOperator
from sluice.airflow.operators import (
    CreateTopicsOperator,
    PackageOperator,
    PlanOperator,
    RollBackOperator,
    SettleOperator,
    SwitchOverOperator,
)
from sluice.job.limits import Health
from sluice.plan.model import Kind
from sluice.plan.request import DeployRequest


def deploy_tasks(
    *,
    common: Mapping[str, Any],
    asked: Any = None,
    notifiers: Sequence[BaseNotifier] = (),
    patience: timedelta | None = None,
    health: Health | None = None,
    assets: JobAssets | None = None,
    one_end: bool = False,
) -> None:
    """Make the tasks, in the DAG or group that is being made.

    Args:
        common: Arguments of every operator: `job`, `root`, `environment`, ...
        asked: What is asked for, as the fields of the trigger form; None: the run's own parameters.
        notifiers: Told that a plan waits for an approval.
        patience: How long it waits; None: SLUICE_APPROVAL_HOURS.
        health: The job's limits, for the tasks' documentation; None: they are not told there.
        assets: What the job reads and writes; None: the job alone is an asset.
        one_end: `settle` comes after everything else, and fails with it: what follows a group must not begin before.
    """
    assets = assets or JobAssets(job_asset(common["job"]))
    # What has nothing to do (topics of a rollback, gates of a suspended job) is skipped, and hinders nothing.
    common = {**common, "trigger_rule": "none_failed"}
    asking = {**common, "asked": asked}
    plan = PlanOperator(
        task_id="plan",
        doc_md="Compares what is desired with what runs: every change, what becomes of the state, the stages.",
        **asking,
    )
    approve = ApproveOperator(
        task_id="approve",
        plan=plan.output,
        notifiers=notifiers,
        patience=patience,
        doc_md="Waits for a person where the plan loses state; otherwise skipped. Nothing is held meanwhile.",
        **asking,
    )
    topics = CreateTopicsOperator(
        task_id="create_topics",
        doc_md="Compares the job's topics with the broker and creates what is missing.",
        **asking,
    )
    package = PackageOperator(task_id="package", doc_md="Stores the job's code, named by its content.", **asking)
    switch = SwitchOverOperator(
        task_id="switch_over",
        plan=plan.output,
        doc_md="Compiles the release; once its client waits, stops the running job with a savepoint and starts the "
        "new one from it. Each effect is recorded before it is done.",
        **asking,
    )
    lag_limit = f"{health.consumer_lag:,} records" if health else "the job's limit of records"
    time_limit = str(health.watermark_lag) if health else "the job's limit"
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
        doc_md=f"At most {lag_limit} behind, unless the deployment says otherwise.",
        **common,
    )
    watermark = GateOperator(
        task_id="check_watermark",
        gate="watermark",
        started=switch.output,
        doc_md=f"Event time at most {time_limit} behind, unless the deployment says otherwise.",
        **common,
    )
    settle = SettleOperator(
        task_id="settle",
        started=switch.output,
        ends_group=one_end,
        inlets=list(assets.reads),
        outlets=[*assets.writes, assets.job],
        doc_md="Marks the release healthy, measures the downtime, thins old savepoints.",
        **common,
    )
    back = RollBackOperator(
        task_id="roll_back",
        outlets=[assets.job],
        doc_md="After a failure: runs the former release again, from the state that it stopped with.",
        **{**common, "trigger_rule": "one_failed"},
    )
    plan >> approve >> topics >> package >> switch >> running >> lag >> watermark >> settle
    [switch, running, lag, watermark] >> back
    if one_end:
        back >> settle


def deploy_group(
    job: str,
    *,
    operation: Kind = "deploy",
    group_id: str | None = None,
    root: str | Path | None = None,
    environment: str | None = None,
    notifiers: Sequence[BaseNotifier] = (),
    patience: timedelta | None = None,
    **kwargs: Any,
) -> TaskGroup:
    """A group of the tasks of deploy.<job>: what comes after it begins once the job is proven, and not after a failure.

    Args:
        job: The job's name.
        operation: `deploy`, `rollback`, `suspend` or `resume`.
        group_id: None: `<operation>_<job>`.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
        notifiers: Told that a plan waits for an approval, with `changes` in their context.
        patience: How long it waits; None: SLUICE_APPROVAL_HOURS.
        kwargs: The parameters of a request by their names in the trigger form, as `mode`, `reason` (a template),
            `to_release`, `wake` or `allow_state_loss`: see `sluice.plan.request`. `config`: settings of the job over
            the deployment file's. Others are arguments of the operators: `retries`, `pool`, ...
    """
    asked, others = DeployRequest.split({**kwargs, "operation": operation})
    where = {"job": job, "root": None if root is None else str(root), "environment": environment}
    with TaskGroup(group_id=group_id or f"{operation}_{job}") as group:
        deploy_tasks(
            common={**RETRIES, **where, **others}, asked=asked, notifiers=notifiers, patience=patience, one_end=True
        )
    return group
