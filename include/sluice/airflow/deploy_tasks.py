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
from sluice.airflow.params import request_params
from sluice.job.limits import Health
from sluice.plan.model import Kind, Mode


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
        doc_md="Compares the desired with the running release: the changes, their effect on the state, the stages.",
        **asking,
    )
    approve = ApproveOperator(
        task_id="approve",
        plan=plan.output,
        notifiers=notifiers,
        patience=patience,
        doc_md="Waits for an approval if the plan loses state; otherwise skipped. Holds no worker slot while it waits.",
        **asking,
    )
    topics = CreateTopicsOperator(
        task_id="create_topics",
        doc_md="Compares the job's topics with the broker, and creates missing ones.",
        **asking,
    )
    package = PackageOperator(
        task_id="package", doc_md="Stores the job's code as an artifact, named by the digest of its content.", **asking
    )
    switch = SwitchOverOperator(
        task_id="switch_over",
        plan=plan.output,
        doc_md="Compiles the release, then stops the running job with a savepoint and starts the new one from it. "
        "Journals each effect before it happens, so that a retry continues.",
        **asking,
    )
    lag_limit = f"{health.consumer_lag:,} records" if health else "the job's limit of records"
    time_limit = str(health.watermark_lag) if health else "the job's limit"
    running = GateOperator(
        task_id="check_running",
        gate="running",
        started=switch.output,
        doc_md="Passes when the job was restored from the intended state, all tasks run, the waiting records are read, "
        "and a checkpoint covers them.",
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
        inlets=list(assets.reads),
        outlets=[*assets.writes, assets.job],
        doc_md="Marks the release as healthy, measures the downtime, and deletes savepoints that are no longer needed.",
        **common,
    )
    back = RollBackOperator(
        task_id="roll_back",
        outlets=[assets.job],
        doc_md="Runs after a failure: starts the release before it again, from the state with which it was stopped.",
        **{**common, "trigger_rule": "one_failed"},
    )
    plan >> approve >> topics >> package >> switch >> running >> lag >> watermark >> settle
    [switch, running, lag, watermark] >> back
    if one_end:
        back >> settle


def deploy_group(  # noqa: PLR0913 - what a run may be asked for
    job: str,
    *,
    operation: Kind = "deploy",
    config: Mapping[str, Any] | None = None,
    to_release: int | None = None,
    mode: Mode | None = None,
    allow_state_loss: bool = False,
    wake: bool = False,
    reason: str | None = None,
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
        config: Settings of the job over the deployment file's, for a deploy.
        to_release: For a rollback, the release; None: the healthy one before.
        mode: How the old job hands over; None: as planned.
        allow_state_loss: Approves ahead a plan that loses state; otherwise it waits for a person.
        wake: A deploy may start a suspended job.
        reason: Kept with the operation; a template.
        group_id: None: `<operation>_<job>`.
        root: The project's directory; None: SLUICE_ROOT, or the working directory's.
        environment: Which file of deployments/ applies; None: SLUICE_ENVIRONMENT.
        notifiers: Told that a plan waits for an approval, with `changes` in their context.
        patience: How long it waits; None: SLUICE_APPROVAL_HOURS.
        kwargs: Arguments of the operators: `retries`, `pool`, ...
    """
    asked = request_params(
        operation,
        config=config,
        to_release=to_release,
        mode=mode,
        allow_state_loss=allow_state_loss,
        wake=wake,
        reason=reason,
    )
    where = {"job": job, "root": None if root is None else str(root), "environment": environment}
    with TaskGroup(group_id=group_id or f"{operation}_{job}") as group:
        deploy_tasks(
            common={**RETRIES, **where, **kwargs}, asked=asked, notifiers=notifiers, patience=patience, one_end=True
        )
    return group
