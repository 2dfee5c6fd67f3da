"""Whether the live job has read past a range: its open windows would overwrite promoted rows."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from sluice.errors import OperationError, RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import Vertex
from sluice.ledger.tables import Placement
from sluice.ledger.values import Phase
from sluice.operation.limits import untimed
from sluice.project import Project
from sluice.replay.model import ReplayPlan
from sluice.state.offsets import topics_of

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_WINDOWS = datetime.max.replace(tzinfo=UTC) - timedelta(days=1)
"""The watermark of a job that is one chain: it has no operator that waits for one."""
_CLOSES = timedelta(milliseconds=1)
"""A window closes once the watermark reaches its last millisecond, which is 1 ms before its end."""
_FETCHED_MS = 15_000
"""Milliseconds after which the cluster has fetched a job's first metrics: it fetches them every 10 s."""


def refuse_behind(project: Project, job: str, plan: ReplayPlan, *, again: str = "") -> None:
    """Refuse to write a replay's rows into a live topic while the live job may still overwrite them.

    By its last checkpoint the live job must have read past the range: only then are its own rows of the range
    committed and all windows of the range closed.

    Args:
        project: The project.
        job: The job's name.
        plan: The replay's plan.
        again: The next step to name in the errors; empty: promote the replay again.

    Raises:
        RefusedError: the job isn't running: after its next start it would write the windows that it holds open.
        OperationError: it is running, and has not read past the range yet.
        UnreachableError: the cluster or the brokers don't answer.
    """
    again = again or f"promote it again in a while: sluice promote {job} {plan.id[:8]}"
    place = project.ledger.placement(job)
    if place is None or place.phase != Phase.RUNNING:
        raise RefusedError(
            f"{job} is not running: its next start would write open windows of the range over the replay's rows",
            remedy=f"start it first: sluice deploy {job}",
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
    committed = project.brokers.committed(project.group(job), wanted)
    # One record beyond the range, where there is one, moves the watermark past the range.
    behind = {place: committed.get(place, 0) for place, end in wanted.items() if committed.get(place, 0) < end + 1}
    for topic, number in sorted(behind.keys() - project.brokers.read_to_end(project.group(job), behind)):
        raise OperationError(
            f"{job}: its last checkpoint is at offset {behind[topic, number]:,} of {topic}[{number}]; the range ends "
            f"at offset {wanted[topic, number]:,}",
            remedy=again,
        )


def _refuse_open(project: Project, place: Placement, plan: ReplayPlan, again: str, *, is_mixed: bool) -> None:
    needed = plan.end + plan.reach
    with project.connect() as flink:
        reached = _watermark(flink, place.flink_job_id, is_mixed=is_mixed)
    if reached is None:
        raise OperationError(
            f"{place.job} was restarted and has no watermark until new events arrive: it may hold windows of the range "
            f"open until {needed:%Y-%m-%d %H:%M:%S} UTC",
            remedy=again,
        )
    if reached + _CLOSES < needed:
        raise OperationError(
            f"{place.job}: its watermark is {reached:%Y-%m-%d %H:%M:%S} UTC; it holds windows of the range open until "
            f"{needed:%Y-%m-%d %H:%M:%S} UTC",
            remedy=f"{again}; on a topic without new events, replay a range that ends before",
        )


def _watermark(flink: FlinkClient, flink_job_id: str, *, is_mixed: bool) -> datetime | None:
    """The smallest watermark of the operators behind the sources; None: not known.

    Idle partitions don't matter: an open window stays open until the watermark moves.

    Args:
        flink: The cluster.
        flink_job_id: The live job's Flink job.
        is_mixed: Some of its topics have no event time: the operators behind those get no watermark.
    """
    while True:
        detail = flink.send(calls.job(flink_job_id))
        is_restored = flink.send(calls.checkpoints(flink_job_id)).latest.restored is not None
        after = [vertex for vertex in detail.vertices if not vertex.is_source]
        if not after:
            return _NO_WINDOWS
        reported = [_reported(flink, flink_job_id, vertex) for vertex in after]
        found = [
            _reached(known, vertex, is_restored=is_restored) for known, vertex in zip(reported, after, strict=True)
        ]
        if is_mixed and any(reported):
            found = [reached for reached, known in zip(found, reported, strict=True) if known]
        if None not in found:
            return _EPOCH + timedelta(milliseconds=min(reached for reached in found if reached is not None))
        if detail.now - detail.start_time > _FETCHED_MS:
            return None
        flink.clock.sleep(1)


def _reported(flink: FlinkClient, flink_job_id: str, vertex: Vertex) -> list[int]:
    """The watermarks of a vertex's subtasks, in milliseconds; none of a subtask that has not got one yet."""
    metrics = [int(metric.value or 0) for metric in flink.send(calls.watermarks(flink_job_id, vertex.id))]
    return [watermark for watermark in metrics if watermark > 0]


def _reached(known: list[int], vertex: Vertex, *, is_restored: bool) -> int | None:
    """The smallest watermark of a vertex; None: not known.

    A subtask without a watermark holds no open windows, unless a savepoint or checkpoint restored some into it.
    """
    if not known or (is_restored and len(known) < vertex.parallelism):
        return None
    return min(known)
