"""What is watched at the gates of a job that an operation has started, or that runs already."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import timedelta

from sluice.health.gates import Gate
from sluice.operation.gate import GateOrder
from sluice.operation.limits import limits, untimed
from sluice.operation.switch_over import Started
from sluice.project import Project
from sluice.state.offsets import topics_of

_LEAST = 60.0
"""Seconds that a gate gets at the least, where it is watched again after its deadline."""


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
        started: The job that runs.
        gates: Which, in the order in which they are to be passed.
        log: Takes a line where the limits are not the job's own of today.
        deadline: Unix time, seconds, for all gates of the operation; None: counted from now.
        patience: How long, without a deadline; None: the job's `start_timeout`.
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
        kafka=project.kafka,
        group=project.group(job),
        health=health,
        deadline=deadline,
        restored_from=started.restored_from,
        positions=started.positions,
        untimed=untimed(project, release),
        must_count=started.counts,
    )
