"""Reading a snapshot of a job: Flink's REST API for the job, the broker for the ends of its topics."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Iterable, Mapping

from sluice.errors import FlinkError
from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.models import Checkpoints, JobDetail
from sluice.health.snapshot import Snapshot, SplitReading
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import Offsets, Partition, read_committed, read_offsets

_POSITION = re.compile(r"\d+\..*KafkaSourceReader\.topic\.(?P<topic>.+)\.partition\.(?P<number>\d+)\.currentOffset")
_WATERMARK = re.compile(r"\d+\..*\.split\.(?P<topic>.+)-(?P<number>\d+)\.watermark\.currentWatermark")
_RESTARTS = "numRestarts"
_NO_WATERMARK = -(2**63)


async def probe(
    flink: AsyncFlinkClient, job_id: str | None, topics: Iterable[str], kafka: Mapping[str, str], group: str
) -> Snapshot:
    """A snapshot of the job.

    Args:
        flink: The cluster.
        job_id: The job's id in Flink; None: it has none.
        topics: What it reads.
        kafka: librdkafka's configuration.
        group: The job's consumer group.

    Raises:
        UnreachableError: the cluster or the broker doesn't answer: it says nothing about the job.
    """
    now = _now()
    if job_id is None:
        return Snapshot(now, None)
    try:
        detail = await flink.send(calls.job(job_id))
        checkpoints = await flink.send(calls.checkpoints(job_id))
        exceptions = await flink.send(calls.exceptions(job_id))
        restarts = await flink.send(calls.job_metrics(job_id, (_RESTARTS,)))
        readings = await _readings(flink, detail)
    except FlinkError as error:
        if error.status == 404:
            return Snapshot(now, None)
        raise
    # A source that has read nothing since it was restored does not tell where it stands; its group does.
    is_silent = any(position < 0 for position in readings["position"].values())
    ends, committed = await asyncio.to_thread(_offsets, tuple(topics), kafka, group if is_silent else None)
    failures = exceptions.history.entries
    return Snapshot(
        at_ms=_now(),
        state=detail.state,
        running_ms=detail.now - detail.start_time,
        tasks_total=detail.tasks_total,
        tasks_running=detail.tasks_running,
        restarts=int(float(restarts[0].value)) if restarts and restarts[0].value else None,
        completed_checkpoints=checkpoints.counts.completed,
        checkpoint_age_ms=_age(checkpoints),
        restored_from=checkpoints.latest.restored.external_path if checkpoints.latest.restored else None,
        splits=_splits(readings, ends, committed),
        last_exception=failures[0].words if failures else None,
    )


def _age(checkpoints: Checkpoints) -> int | None:
    newest = checkpoints.latest.completed
    return _now() - (newest.latest_ack_timestamp or newest.trigger_timestamp) if newest else None


async def _readings(flink: AsyncFlinkClient, detail: JobDetail) -> dict[str, dict[Partition, int]]:
    """Positions and watermarks by partition, as the sources report them."""
    found: dict[str, dict[Partition, int]] = {"position": {}, "watermark": {}}
    for vertex in detail.vertices:
        if not vertex.name.startswith("Source:"):
            continue
        names = [metric.id for metric in await flink.send(calls.metric_names(detail.id, vertex.id))]
        wanted = [name for name in names if _POSITION.fullmatch(name) or _WATERMARK.fullmatch(name)]
        if not wanted:
            continue
        for metric in await flink.send(calls.metrics(detail.id, vertex.id, wanted)):
            kind, match = "position", _POSITION.fullmatch(metric.id)
            if match is None:
                kind, match = "watermark", _WATERMARK.fullmatch(metric.id)
            if match is None or metric.value is None:
                continue
            partition, value = (match["topic"], int(match["number"])), int(metric.value)
            # Several sources may read a topic: the one that is furthest behind counts.
            found[kind][partition] = min(value, found[kind].get(partition, value))
    return found


def _offsets(
    topics: tuple[str, ...], kafka: Mapping[str, str], group: str | None
) -> tuple[dict[Partition, Offsets], dict[Partition, int]]:
    offsets = read_offsets(connect(kafka), topics, kafka.get("bootstrap.servers", ""))
    return offsets, read_committed(kafka, group, offsets) if group else {}


def _splits(
    readings: Mapping[str, Mapping[Partition, int]],
    ends: Mapping[Partition, Offsets],
    committed: Mapping[Partition, int],
) -> dict[Partition, SplitReading]:
    splits = {}
    for partition, offsets in ends.items():
        read = readings["position"].get(partition)
        following = None if read is None else read + 1 if read >= 0 else committed.get(partition, offsets.start)
        mark = readings["watermark"].get(partition, _NO_WATERMARK)
        splits[partition] = SplitReading(
            lag=None if following is None else max(0, offsets.end - max(following, offsets.start)),
            watermark_ms=mark if mark > _NO_WATERMARK else None,
        )
    return splits


def _now() -> int:
    return time.time_ns() // 1_000_000
