"""Whether the live job is done with a range: open windows of it would overwrite what is promoted."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta

from sluice.errors import OperationError, RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import Vertex
from sluice.kafka.offsets import find_read_to_end, read_committed
from sluice.ledger.tables import Placement
from sluice.operation.limits import untimed
from sluice.project import Project
from sluice.replay.model import ReplayPlan
from sluice.state.offsets import topics_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NOTHING_HELD = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
"""Of a job that is one chain: nothing in it waits for a watermark."""
_CLOSES = timedelta(milliseconds=1)
"""A window closes at the last millisecond that is in it."""
_FETCHED_MS = 15_000
"""After which the cluster has fetched the first metrics of a job: it does so every 10 s."""


def refuse_behind(project: Project, job: str, plan: ReplayPlan, *, again: str = "") -> None:
    """Refuse to write rows into a live topic over which the live job may write.

    It must have read past the range, as its last checkpoint has it: only then are the rows of the range committed, and
    none of their windows open.

    Args:
        project: The project.
        job: The job's name.
        plan: Of the replay.
        again: How to try once more, for the errors; empty: by promoting it.

    Raises:
        RefusedError: the job doesn't run: it holds windows that it writes when it does.
        OperationError: it runs, and has not come so far yet.
        UnreachableError: cluster or brokers don't answer.
    """
    again = again or f"promote it again in a while: sluice promote {job} {plan.id[:8]}"
    place = project.ledger.placement(job)
    if place is None or place.phase != "running":
        raise RefusedError(
            f"{job} does not run: windows of the range that it holds open it would write over the replay's rows",
            remedy=f"bring it back first: sluice deploy {job}",
        )
    _refuse_unread(project, job, plan, again)
    release = project.ledger.release(job, place.release)
    without = untimed(project, release)
    if set(topics_of(release.resolved)) - set(without):
        _refuse_open(project, place, plan, again, is_mixed=bool(without))


def _refuse_unread(project: Project, job: str, plan: ReplayPlan, again: str) -> None:
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
            remedy=again,
        )


def _refuse_open(project: Project, place: Placement, plan: ReplayPlan, again: str, *, is_mixed: bool) -> None:
    needed = plan.end + plan.reach
    with FlinkClient(project.flink) as flink:
        reached = _watermark(flink, place.flink_job_id, is_mixed=is_mixed)
    if reached is None:
        raise OperationError(
            f"{place.job} was started again and tells no watermark until new events come: whether it holds windows of "
            f"the range open until {needed:%Y-%m-%d %H:%M:%S} UTC is not known",
            remedy=again,
        )
    if reached + _CLOSES < needed:
        raise OperationError(
            f"{place.job}: its watermark stands at {reached:%Y-%m-%d %H:%M:%S} UTC, and it holds windows of the range "
            f"open until {needed:%Y-%m-%d %H:%M:%S} UTC",
            remedy=f"{again}; on a topic without new events, replay a range that ends before",
        )


def _watermark(flink: FlinkClient, flink_job_id: str, *, is_mixed: bool) -> datetime | None:
    """The smallest watermark that what comes after the sources has got; None: not known.

    Whether partitions are idle says nothing: what is held open stays so until the watermark moves.

    Args:
        flink: The cluster.
        flink_job_id: The live job's.
        is_mixed: Some of the topics that it reads have no event time: what comes after those gets no watermark.
    """
    while True:
        detail = flink.send(calls.job(flink_job_id))
        is_restored = flink.send(calls.checkpoints(flink_job_id)).latest.restored is not None
        after = [vertex for vertex in detail.vertices if not vertex.is_source]
        if not after:
            return _NOTHING_HELD
        told = [_known(flink, flink_job_id, vertex) for vertex in after]
        found = [_reached(known, vertex, is_restored=is_restored) for known, vertex in zip(told, after, strict=True)]
        if is_mixed and any(told):
            found = [reached for reached, known in zip(found, told, strict=True) if known]
        if None not in found:
            return _EPOCH + timedelta(milliseconds=min(reached for reached in found if reached is not None))
        if detail.now - detail.start_time > _FETCHED_MS:
            return None
        time.sleep(1)


def _known(flink: FlinkClient, flink_job_id: str, vertex: Vertex) -> list[int]:
    told = [int(metric.value or 0) for metric in flink.send(calls.watermarks(flink_job_id, vertex.id))]
    return [watermark for watermark in told if watermark > 0]


def _reached(known: list[int], vertex: Vertex, *, is_restored: bool) -> int | None:
    """A subtask without a watermark holds nothing, unless it was restored with what another one held."""
    if not known or (is_restored and len(known) < vertex.parallelism):
        return None
    return min(known)
