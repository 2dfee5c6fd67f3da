"""What a job's tasks report: positions and watermarks of its sources, rows that its windows have dropped."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.models import JobDetail, Vertex
from sluice.kafka.offsets import Partition

POSITION = re.compile(r"\d+\..*KafkaSourceReader\.topic\.(?P<topic>.+)\.partition\.(?P<number>\d+)\.currentOffset")
WATERMARK = re.compile(r"\d+\..*\.split\.(?P<topic>.+)-(?P<number>\d+)\.watermark\.currentWatermark")
LATE = re.compile(r".*\.numLateRecordsDropped")
"""Every operator of Flink that drops what comes behind its watermark counts it under this name: windows of SQL, the
Table API and the DataStream API, window joins, OVER aggregates, temporal sorts, pattern matching."""


@dataclass
class Reported:
    """The metrics of all tasks, as far as they say something about health.

    Attributes:
        positions: Offset of the last record read, by partition; negative: none since the task started.
        watermarks: Epoch milliseconds, by partition.
        late_dropped: Rows that windows have dropped since their tasks started.
    """

    positions: dict[Partition, int] = field(default_factory=dict)
    watermarks: dict[Partition, int] = field(default_factory=dict)
    late_dropped: int = 0


async def read_metrics(flink: AsyncFlinkClient, detail: JobDetail) -> Reported:
    """Ask every vertex of the job.

    Raises:
        UnreachableError: the cluster doesn't answer.
        FlinkError: the cluster said no.
    """
    reported = Reported()
    for vertex in detail.vertices:
        if vertex.name.startswith("Source:"):
            await _read_source(flink, detail.id, vertex, reported)
        else:
            await _read_others(flink, detail.id, vertex, reported)
    return reported


async def _read_source(flink: AsyncFlinkClient, job_id: str, vertex: Vertex, reported: Reported) -> None:
    names = [metric.id for metric in await flink.send(calls.metric_names(job_id, vertex.id))]
    wanted = [name for name in names if any(kind.fullmatch(name) for kind in (POSITION, WATERMARK, LATE))]
    for call in calls.metrics(job_id, vertex.id, wanted):
        for metric in await flink.send(call):
            if metric.value is None:
                continue
            if match := POSITION.fullmatch(metric.id):
                _keep_smallest(reported.positions, match, metric.value)
            elif match := WATERMARK.fullmatch(metric.id):
                _keep_smallest(reported.watermarks, match, metric.value)
            else:
                reported.late_dropped += int(metric.value)


async def _read_others(flink: AsyncFlinkClient, job_id: str, vertex: Vertex, reported: Reported) -> None:
    """Over subtasks, summed by the cluster: small answers, however parallel the job."""
    names = [metric.id for metric in await flink.send(calls.aggregate_names(job_id, vertex.id))]
    wanted = [name for name in names if LATE.fullmatch(name)]
    for call in calls.aggregates(job_id, vertex.id, wanted):
        reported.late_dropped += sum(int(metric.sum or 0) for metric in await flink.send(call))


def _keep_smallest(found: dict[Partition, int], match: re.Match[str], text: str) -> None:
    """Several sources may read a topic: the one that is furthest behind counts."""
    partition, value = (match["topic"], int(match["number"])), int(text)
    found[partition] = min(value, found.get(partition, value))
