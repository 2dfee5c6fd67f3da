"""Whether a release caused the failure of its operation, or the cluster did."""

from __future__ import annotations

from sluice.errors import FlinkError, UnreachableError
from sluice.flink import calls, stale_metrics
from sluice.flink.ending import job_state
from sluice.flink.models import JobState
from sluice.ledger.tables import Placement
from sluice.ledger.values import Phase
from sluice.operation.context import OperationContext

_RECOVERY = 10.0
"""Seconds until a restarted JobManager has recovered its jobs from its high-availability store."""


def was_lost(context: OperationContext, place: Placement) -> bool:
    """Whether the cluster no longer knows the job that this operation has started.

    The cluster was restarted then, which is no fault of the release. A JobManager with high availability recovers its
    jobs, so wait `_RECOVERY` for that.
    """
    submitted = context.operation.entry("start", "submitted") or {}
    if place.phase != Phase.RUNNING or submitted.get("flink_job_id") != place.flink_job_id:
        return False
    return not context.project.clock.wait_for(
        lambda: job_state(context.flink, place.flink_job_id) is not None, within=_RECOVERY, pause=0.5
    )


def metrics_stale(context: OperationContext, place: Placement) -> bool:
    """Whether the job runs and completes checkpoints, and the cluster's metrics are stale."""
    if place.phase != Phase.RUNNING:
        return False
    flink = context.flink
    try:
        detail = flink.send(calls.job(place.flink_job_id))
        completed = flink.send(calls.checkpoints(place.flink_job_id)).counts.completed
    except UnreachableError:
        raise
    except FlinkError:
        return False
    runs = detail.state is JobState.RUNNING and detail.tasks_running == detail.tasks_total
    return bool(runs and completed and stale_metrics.metrics_are_stale(flink))
