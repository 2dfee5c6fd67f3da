"""Reading a snapshot of a job: Flink's REST API for the job, the broker for the ends of its topics."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from dataclasses import replace

from sluice.errors import JobNotFoundError
from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.models import Checkpoints
from sluice.health.metrics import Reported, read_metrics
from sluice.health.snapshot import Snapshot, SplitReading
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import Offsets, Partition, find_read_to_end, read_committed, read_offsets

_RESTARTS = "numRestarts"
_NO_WATERMARK = -(2**63)
_SMALL_LAG = 1_000
_FRESH_MS = 30_000


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
        FlinkError: the cluster refuses to answer.
    """
    now = _now()
    if job_id is None:
        return Snapshot(now, None)
    try:
        detail = await flink.send(calls.job(job_id))
        checkpoints = await flink.send(calls.checkpoints(job_id))
        exceptions = await flink.send(calls.exceptions(job_id))
        restarts = await flink.send(calls.job_metrics(job_id, (_RESTARTS,)))
        reported = await read_metrics(flink, detail)
    except JobNotFoundError:
        return Snapshot(now, None)
    splits = await asyncio.to_thread(_splits, reported, tuple(topics), kafka, group)
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
        splits=splits,
        late_dropped=reported.late_dropped,
        last_exception=failures[0].words if failures else None,
    )


def _age(checkpoints: Checkpoints) -> int | None:
    newest = checkpoints.latest.completed
    return _now() - (newest.latest_ack_timestamp or newest.trigger_timestamp) if newest else None


def _splits(
    reported: Reported, topics: tuple[str, ...], kafka: Mapping[str, str], group: str
) -> dict[Partition, SplitReading]:
    """Lag and watermark of every partition of the topics; asks the broker."""
    if not topics:
        return {}
    offsets = read_offsets(connect(kafka), topics, kafka.get("bootstrap.servers", ""))
    # A source that has read nothing since it was restored does not tell where it stands; its group does.
    is_silent = any(position < 0 for position in reported.positions.values())
    committed = read_committed(kafka, group, offsets) if is_silent else {}
    following = next_offsets(reported.positions, offsets, committed)
    splits = read_splits(reported.watermarks, offsets, following)
    doubtful = {partition: following[partition] for partition, split in splits.items() if _is_doubtful(split, _now())}
    for partition in find_read_to_end(kafka, group, doubtful) if doubtful else ():
        splits[partition] = replace(splits[partition], lag=0)
    return splits


def next_offsets(
    positions: Mapping[Partition, int], offsets: Mapping[Partition, Offsets], committed: Mapping[Partition, int]
) -> dict[Partition, int]:
    """The offset that the job reads next, of each partition where that is known."""
    following = {}
    for partition, position in positions.items():
        if held := offsets.get(partition):
            after = position + 1 if position >= 0 else committed.get(partition, held.start)
            following[partition] = max(after, held.start)
    return following


def read_splits(
    watermarks: Mapping[Partition, int], offsets: Mapping[Partition, Offsets], following: Mapping[Partition, int]
) -> dict[Partition, SplitReading]:
    """What is known of each partition."""
    splits = {}
    for partition, held in offsets.items():
        after, mark = following.get(partition), watermarks.get(partition, _NO_WATERMARK)
        splits[partition] = SplitReading(
            lag=None if after is None else max(0, held.end - after),
            watermark_ms=mark if mark > _NO_WATERMARK else None,
        )
    return splits


def _is_doubtful(split: SplitReading, now: int) -> bool:
    """It is behind by little and not moving, which is what the end of a transaction looks like.

    Each transaction leaves a marker behind its records, with an offset that no consumer ever gets, and an aborted one
    its records as well. Where the watermark is fresh there is no need to look closer.
    """
    if not split.lag or split.lag > _SMALL_LAG:
        return False
    return split.watermark_ms is None or now - split.watermark_ms > _FRESH_MS


def _now() -> int:
    return time.time_ns() // 1_000_000
