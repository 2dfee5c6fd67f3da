"""What the gates check of a job that an operation has started, or that was running already."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from sluice.health.gates import Gate
from sluice.operation.gate import GateOrder
from sluice.operation.limits import limits, untimed
from sluice.operation.started import Started
from sluice.project import Project
from sluice.state.offsets import topics_of

_LEAST = 60.0
"""The minimum in seconds for a gate that is watched again after its deadline."""


def gate_order(
    project: Project,
    job: str,
    started: Started,
    gates: tuple[Gate, ...],
    log: Callable[[str], None],
    *,
    deadline: float | None = None,
    patience: timedelta | None = None,
) -> GateOrder:
    """The order for `sluice.operation.gate.readings`.

    Args:
        project: The project.
        job: The job's name.
        started: The running job.
        gates: The gates, in the order in which they must pass.
        log: Receives a line if the limits are not the current ones of the job.
        deadline: Unix time in seconds for all gates of the operation; None: now plus `patience`.
        patience: How long to wait if there is no deadline; None: the job's `start_timeout`.
    """
    release = project.ledger.release(job, started.release)
    health = limits(project, release, log)
    if deadline is None:
        deadline = time.time() + (patience or health.start_timeout).total_seconds()
    else:
        deadline = max(deadline, time.time() + _LEAST)
    return GateOrder(
        gates=gates,
        flink=project.flink,
        flink_job_id=started.flink_job_id or "",
        topics=tuple(sorted(topics_of(release.resolved))),
        brokers=project.brokers,
        group=project.group(job),
        health=health,
        deadline=deadline,
        restored_from=started.restored_from,
        positions=started.positions,
        untimed=untimed(project, release),
        must_count=started.counts,
        requires_proof=not (started.unchanged and release.healthy_at is not None),
        # A Flink job that this operation did not start is only looked at.
        triggers_checkpoint=not (started.unchanged or started.recorded),
    )
