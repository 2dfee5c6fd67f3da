"""Whether the live job is done with a range: what it still holds of it, it would write over what is promoted."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from sluice.errors import OperationError, RefusedError
from sluice.flink.client import AsyncFlinkClient
from sluice.health.probe import probe
from sluice.health.snapshot import Snapshot
from sluice.kafka.offsets import find_read_to_end, read_committed
from sluice.operation.limits import untimed
from sluice.plan.continuity import topics_of
from sluice.project import Project
from sluice.release.tables import Placement
from sluice.replay.model import ReplayPlan

_NEXT = "promote it again in a while: sluice promote"


def refuse_behind(project: Project, job: str, plan: ReplayPlan) -> None:
    """Refuse to promote what the live job may write over.

    It must have read past the range, as its last checkpoint has it: only then are the rows of the range committed, and
    none of their windows open.

    Raises:
        RefusedError: the job doesn't run: it holds windows that it writes when it does.
        OperationError: it runs, and has not come so far yet.
        UnreachableError: cluster or brokers don't answer.
    """
    place = project.ledger.placement(job)
    if place is None or place.phase != "running":
        raise RefusedError(
            f"{job} does not run: windows of the range that it holds open it would write over what is promoted",
            remedy=f"bring it back first: sluice deploy {job}",
        )
    _refuse_unread(project, job, plan)
    snapshot = asyncio.run(_look(project, place, plan))
    reached = _watermark(snapshot)
    if reached is not None and reached < plan.end:
        raise OperationError(
            f"{job}: its watermark stands at {reached:%H:%M:%S} UTC, and the range ends at {plan.end:%H:%M:%S} UTC",
            remedy=f"{_NEXT} {job} {plan.id[:8]}",
        )


def _refuse_unread(project: Project, job: str, plan: ReplayPlan) -> None:
    last = plan.chunks[-1].offsets
    topics = {name: plan.resolved["reads"][name]["topic"] for name in last}
    wanted = {(topics[name], number): end for name, offsets in last.items() for number, (_, end) in offsets.items()}
    committed = read_committed(project.kafka, project.group(job), wanted)
    # The record after the range moves the watermark past it, where there is one.
    behind = {place: committed.get(place, 0) for place, end in wanted.items() if committed.get(place, 0) < end + 1}
    for topic, number in sorted(behind.keys() - find_read_to_end(project.kafka, project.group(job), behind)):
        raise OperationError(
            f"{job} has read {topic}[{number}] up to offset {behind[topic, number]:,} by its last checkpoint, and the "
            f"range goes to {wanted[topic, number]:,}",
            remedy=f"{_NEXT} {job} {plan.id[:8]}",
        )


async def _look(project: Project, place: Placement, plan: ReplayPlan) -> Snapshot:
    topics = topics_of(plan.resolved)
    without = untimed(project, project.ledger.release(place.job, place.release))
    async with AsyncFlinkClient(project.flink) as flink:
        group = project.group(place.job)
        return await probe(flink, place.flink_job_id, sorted(topics), project.kafka, group, untimed=without)


def _watermark(snapshot: Snapshot) -> datetime | None:
    """Where event time stands; None: the job has none, or reads nothing any more."""
    if snapshot.is_idle or snapshot.watermark_lag_ms is None:
        return None
    return datetime.fromtimestamp((snapshot.at_ms - snapshot.watermark_lag_ms) / 1000, UTC)
