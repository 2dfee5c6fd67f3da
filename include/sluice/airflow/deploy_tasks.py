"""The tasks of a deploy, one after the other: for the DAGs deploy.<job>, and as a task group for your own DAGs."""

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
    """Make the tasks in the current DAG or task group.

    Args:
        common: Arguments of every operator: `job`, `root`, `environment`, ...
        asked: The request, as the fields of the trigger form; None: the run's own parameters.
        notifiers: Called when a plan waits for an approval.
        patience: How long it waits; None: SLUICE_APPROVAL_HOURS.
        health: The job's limits, for the tasks' documentation; None: the documentation doesn't name them.
        assets: The job's assets; None: the job alone is one.
        one_end: `settle` runs after all other tasks and fails if one of them failed, so that tasks after a group wait
            for the whole group.
    """
    assets = assets or JobAssets(job_asset(common["job"]))
    # A task with nothing to do (topics of a rollback, gates of a suspended job) is skipped; the next tasks still run.
    common = {**common, "trigger_rule": "none_failed"}
    with_request = {**common, "asked": asked}
    plan = PlanOperator(
        task_id="plan",
        doc_md="Compares the desired and the running release: the changes, their effect on the state, and the stages.",
        **with_request,
    )
    approve = ApproveOperator(
        task_id="approve",
        plan=plan.output,
        notifiers=notifiers,
        patience=patience,
        doc_md="Waits for an approval if the plan needs one; otherwise skipped. Holds no worker slot while it waits.",
        **with_request,
    )
    topics = CreateTopicsOperator(
        task_id="create_topics",
        plan=plan.output,
        doc_md="Creates the topics that the plan found missing, and changes those that it was asked to change.",
        **with_request,
    )
    package = PackageOperator(
        task_id="package",
        plan=plan.output,
        doc_md="Compares the job's code in the artifact store with the digest that names it; the plan has stored it.",
        **with_request,
    )
    switch = SwitchOverOperator(
        task_id="switch_over",
        plan=plan.output,
        doc_md="Compiles the release, then stops the running job with a savepoint and starts the new one from it. "
        "Journals each effect before it happens, so that a retry continues.",
        **with_request,
    )
    lag_limit = f"{health.consumer_lag:,} records" if health else "the job's limit of records"
    time_limit = str(health.watermark_lag) if health else "the job's limit"
    running = GateOperator(
        task_id="check_running",
        gate="running",
        started=switch.output,
        doc_md="Passes when the job was restored from the intended state, all its Flink tasks run, and a checkpoint "
        "covers the records that were waiting.",
        **common,
    )
    lag = GateOperator(
        task_id="check_consumer_lag",
        gate="consumer_lag",
        started=switch.output,
        doc_md=f"Passes at a consumer lag of at most {lag_limit}; the deployment file may set another limit.",
        **common,
    )
    watermark = GateOperator(
        task_id="check_watermark",
        gate="watermark",
        started=switch.output,
        doc_md=f"Passes when event time is at most {time_limit} behind; the deployment file may set another limit.",
        **common,
    )
    settle = SettleOperator(
        task_id="settle",
        started=switch.output,
        ends_group=one_end,
        inlets=list(assets.reads),
        outlets=[*assets.writes, assets.job],
        doc_md="Marks the release as healthy, measures the downtime, and deletes savepoints that are no longer needed.",
        **common,
    )
    roll_back = RollBackOperator(
        task_id="roll_back",
        outlets=[assets.job],
        doc_md="Runs after a failure: starts the previous release again, from the state with which it was stopped.",
        **{**common, "trigger_rule": "one_failed"},
    )
    plan >> approve >> topics >> package >> switch >> running >> lag >> watermark >> settle
    [switch, running, lag, watermark] >> roll_back
    if one_end:
        roll_back >> settle


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
    """A group of the tasks of deploy.<job>. Tasks after it run once the job has passed its gates, not after a failure.

    Args:
        job: The job's name.
        operation: `deploy`, `rollback`, `suspend` or `resume`.
        group_id: None: `<operation>_<job>`.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
        notifiers: Called when a plan waits for an approval, with `changes` in their context.
        patience: How long it waits; None: SLUICE_APPROVAL_HOURS.
        kwargs: The fields of a request by their names in the trigger form, e.g. `mode`, `reason` (a template),
            `to_release`, `wake` or `allow_state_loss`: see `sluice.plan.request`. `config`: settings of the job, which
            replace the deployment file's. Others are arguments of the operators: `retries`, `pool`, ...
    """
    request_fields, others = DeployRequest.split({**kwargs, "operation": operation})
    where = {"job": job, "root": None if root is None else str(root), "environment": environment}
    with TaskGroup(group_id=group_id or f"{operation}_{job}") as group:
        deploy_tasks(
            common={**RETRIES, **where, **others},
            asked=request_fields,
            notifiers=notifiers,
            patience=patience,
            one_end=True,
        )
    return group
