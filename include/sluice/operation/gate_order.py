"""What the gates check of a job that an operation has started, or that was running already."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta

from pydantic import BaseModel, ConfigDict

from sluice.health.gates import Gate
from sluice.job.limits import Health
from sluice.operation.limits import limits, untimed
from sluice.operation.started import Started
from sluice.project import Project
from sluice.state.offsets import topics_of


class GateOrder(BaseModel):
    """What to wait for. Airflow's database stores it as JSON values while a trigger waits, so it holds no secrets.

    Attributes:
        gates: The gates, in the order in which they must pass.
        topics: The topics that the job reads.
        group: Its consumer group.
        deadline: Unix time in seconds by which they must have passed.
        restored_from: The savepoint or checkpoint that the job must have been restored from; None: not checked.
        positions: The offset per topic and partition before which the job must not read; None: not checked.
        untimed: The topics that it reads without event time.
        must_count: See `sluice.health.gates.judge`.
        requires_proof: The gate `running` requires that the waiting records are read and covered by a checkpoint.
            False: the job is unchanged, and its release has passed its gates before; any checkpoint will do.
        triggers_checkpoint: Trigger a checkpoint once only that is missing; False: wait for the job's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    gates: tuple[Gate, ...]
    flink_job_id: str
    topics: tuple[str, ...]
    group: str
    health: Health
    deadline: float
    restored_from: str | None = None
    positions: Mapping[str, Mapping[str, int]] | None = None
    untimed: tuple[str, ...] = ()
    must_count: bool = True
    requires_proof: bool = True
    triggers_checkpoint: bool = False


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
    health, now = limits(project, release, log), project.clock.now().timestamp()
    if deadline is None:
        deadline = now + (patience or health.start_timeout).total_seconds()
    else:
        deadline = max(deadline, now + _LEAST)
    return GateOrder(
        gates=gates,
        flink_job_id=started.flink_job_id or "",
        topics=tuple(sorted(topics_of(release.resolved))),
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
