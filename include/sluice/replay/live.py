"""Whether the live job is done with a range: what it still holds of it, it would write over what is promoted."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from sluice.errors import OperationError, RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.kafka.offsets import find_read_to_end, read_committed
from sluice.operation.limits import untimed
from sluice.plan.continuity import topics_of
from sluice.project import Project
from sluice.release.tables import Placement
from sluice.replay.model import ReplayPlan

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CLOSES = timedelta(milliseconds=1)
"""A window closes at the last millisecond that is in it."""
_FETCHED_MS = 15_000
"""After which the cluster has fetched the first metrics of a job: it does so every 10 s."""
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
    needed, reached = plan.end + plan.reach, _watermark(project, place, plan)
    if reached is not None and reached + _CLOSES < needed:
        raise OperationError(
            f"{job}: its watermark stands at {reached:%Y-%m-%d %H:%M:%S} UTC, and it holds windows of the range open "
            f"until {needed:%Y-%m-%d %H:%M:%S} UTC",
            remedy=f"{_NEXT} {job} {plan.id[:8]}; on a topic without new events, replay a range that ends before",
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


def _watermark(project: Project, place: Placement, plan: ReplayPlan) -> datetime | None:
    """The smallest watermark that what comes after the sources has got; None: not known.

    Whether partitions are idle says nothing: what is held open stays so until the watermark moves. A job without event
    time has none; one that was started again tells none until new events come, and what it then holds open isn't known.
    """
    without = untimed(project, project.ledger.release(place.job, place.release))
    if not set(topics_of(plan.resolved)) - set(without):
        return None
    with FlinkClient(project.flink) as flink:
        while True:
            detail = flink.send(calls.job(place.flink_job_id))
            asked = (calls.watermarks(detail.id, vertex.id) for vertex in detail.vertices if not vertex.is_source)
            told = [int(metric.value or 0) for call in asked for metric in flink.send(call)]
            if known := [value for value in told if value > 0]:
                return _EPOCH + timedelta(milliseconds=min(known))
            if detail.now - detail.start_time > _FETCHED_MS:
                return None
            time.sleep(1)
