"""What a job's tasks report: positions and watermarks of its sources, rows that its windows drop or its sinks send.

Everything is asked for as aggregates over subtasks: names without the subtask are few and the answers small, however
parallel the job. Names stay the same for as long as a Flink job runs, so they are asked for once and then remembered.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.metrics import MetricAggregate
from sluice.flink.models import JobDetail, Vertex
from sluice.health.snapshot import VertexNames
from sluice.kafka.offsets import Partition

POSITION = re.compile(
    r"(?P<operator>.+)\.KafkaSourceReader\.topic\.(?P<topic>.+)\.partition\.(?P<number>\d+)\.currentOffset"
)
WATERMARK = re.compile(r".+\.split\.(?P<topic>.+)-(?P<number>\d+)\.watermark\.currentWatermark")
IDLE = re.compile(r".+\.split\.(?P<topic>.+)-(?P<number>\d+)\.watermark\.idleTimeMsPerSecond")
LATE = re.compile(r".*\.numLateRecordsDropped")
"""Every operator of Flink that drops what comes behind its watermark counts it under this name: windows of SQL, the
Table API and the DataStream API, window joins, OVER aggregates, temporal sorts, pattern matching."""
SENT = re.compile(r"(?P<sink>.+)\.numRecordsSend")
"""What every sink of FLIP-33 and later counts."""
_READER = ".KafkaSourceReader."
"""In the names that a Kafka source has from its beginning on, before it knows its partitions."""
_BACKPRESSURED = "backPressuredTimeMsPerSecond"
_MOSTLY_IDLE = 500
"""Milliseconds of a second."""
_LEARNING_MS = 60_000
"""How long after its start a job may register more metrics: a reader names a partition once it has polled it."""
_FETCHED_MS = 15_000
"""After which the cluster has fetched the first metrics: it does so every 10 s."""


@dataclass
class Reported:
    """The metrics of all tasks, as far as they say something about health.

    Attributes:
        positions: Offset of the last record read, by partition; negative: none since the task started.
        watermarks: Epoch milliseconds, by partition.
        idle: Whether Flink takes a partition for idle, of those that were asked for.
        late_dropped: Rows that windows have dropped since their tasks started.
        sent: Records that sinks have sent since their tasks started, by the sink's operator.
        backpressured: Of the most hindered subtask of a source, 0 to 1; None: not known.
        names: To be remembered; empty as long as a topic is not among what is read.
        unread: Topics that no Kafka source of the job reads, as far as that is known.
    """

    positions: dict[Partition, int] = field(default_factory=dict)
    watermarks: dict[Partition, int] = field(default_factory=dict)
    idle: dict[Partition, bool] = field(default_factory=dict)
    late_dropped: int = 0
    sent: dict[str, int] = field(default_factory=dict)
    backpressured: float | None = None
    names: Mapping[str, VertexNames] = field(default_factory=dict)
    unread: tuple[str, ...] = ()


async def read_metrics(
    flink: AsyncFlinkClient,
    detail: JobDetail,
    topics: Mapping[str, Iterable[int]],
    names: Mapping[str, VertexNames] | None = None,
    quiet: Iterable[Partition] = (),
    *,
    sources_alone: bool = False,
) -> Reported:
    """Ask the vertices of a job: a call for each that reads, drops or sends, as long as the names fit into one.

    Args:
        flink: The cluster.
        detail: The job.
        topics: The partitions of each topic that it reads.
        names: What is remembered of the metrics' names; nothing: they are asked for, a call for each vertex.
        quiet: Partitions of which to ask whether Flink takes them for idle.
        sources_alone: Leave out the vertices that read no topic.

    Raises:
        UnreachableError: the cluster doesn't answer.
        FlinkError: the cluster said no.
    """
    ids = {} if names else await _ids(flink, detail)
    known = names or {vertex: _names(found) for vertex, found in ids.items()}
    reported = Reported()
    asked = frozenset(quiet)
    for vertex in detail.vertices:
        if sources_alone and not vertex.is_source:
            continue
        wanted = list(_wanted(vertex, known.get(vertex.id, VertexNames()), topics, asked))
        for call in calls.aggregates(detail.id, vertex.id, wanted):
            for metric in await flink.send(call):
                _take(metric, reported)
    unread = tuple(topic for topic in topics if topic not in _read(known))
    if names or (not unread and detail.tasks_running >= detail.tasks_total):
        reported.names = known
    if names or _has_told_all(detail, known, ids) or _is_without_kafka(detail, ids):
        reported.unread = unread
    return reported


async def _ids(flink: AsyncFlinkClient, detail: JobDetail) -> dict[str, list[str]]:
    """The names of all metrics, by vertex."""
    return {
        vertex.id: [metric.id for metric in await flink.send(calls.aggregate_names(detail.id, vertex.id))]
        for vertex in detail.vertices
    }


def _names(ids: Iterable[str]) -> VertexNames:
    found = tuple(ids)
    readers = {(match["operator"], match["topic"]) for name in found if (match := POSITION.fullmatch(name))}
    counters = tuple(name for name in found if LATE.fullmatch(name) or SENT.fullmatch(name))
    return VertexNames(tuple(sorted(readers)), counters)


def _read(known: Mapping[str, VertexNames]) -> set[str]:
    return {topic for names in known.values() for _, topic in names.readers}


def _has_told_all(detail: JobDetail, known: Mapping[str, VertexNames], ids: Mapping[str, Sequence[str]]) -> bool:
    """Whether no more topics are to be expected.

    Names are not remembered for that: a cluster that has just lost a part tells too little for minutes.
    """
    if detail.tasks_running < detail.tasks_total or detail.now - detail.start_time <= _LEARNING_MS:
        return False
    told = all(ids[vertex.id] for vertex in detail.vertices if vertex.is_source)
    # A Kafka source without a partition waits for its brokers.
    return told and not any(_has_reader(ids[vertex]) and not names.readers for vertex, names in known.items())


def _is_without_kafka(detail: JobDetail, ids: Mapping[str, Sequence[str]]) -> bool:
    """Whether all sources have told their metrics, and none is one of Kafka."""
    if detail.tasks_running < detail.tasks_total or detail.now - detail.start_time <= _FETCHED_MS:
        return False
    told = all(ids[vertex.id] for vertex in detail.vertices if vertex.is_source)
    return told and not any(map(_has_reader, ids.values()))


def _has_reader(ids: Iterable[str]) -> bool:
    return any(_READER in name for name in ids)


def _wanted(
    vertex: Vertex, names: VertexNames, topics: Mapping[str, Iterable[int]], quiet: frozenset[Partition]
) -> Iterator[str]:
    for operator, topic in names.readers:
        for number in topics.get(topic, ()):
            yield f"{operator}.KafkaSourceReader.topic.{topic}.partition.{number}.currentOffset"
            yield f"{operator}.split.{topic}-{number}.watermark.currentWatermark"
            if (topic, number) in quiet:
                yield f"{operator}.split.{topic}-{number}.watermark.idleTimeMsPerSecond"
    yield from names.counters
    if vertex.is_source:
        yield _BACKPRESSURED


def _take(metric: MetricAggregate, reported: Reported) -> None:
    if metric.min is None or metric.max is None or metric.sum is None:
        return
    if match := POSITION.fullmatch(metric.id):
        _keep_smallest(reported.positions, match, metric.min)
    elif match := WATERMARK.fullmatch(metric.id):
        _keep_smallest(reported.watermarks, match, metric.min)
    elif match := IDLE.fullmatch(metric.id):
        partition = (match["topic"], int(match["number"]))
        reported.idle[partition] = metric.min >= _MOSTLY_IDLE and reported.idle.get(partition, True)
    elif LATE.fullmatch(metric.id):
        reported.late_dropped += int(metric.sum)
    elif match := SENT.fullmatch(metric.id):
        reported.sent[match["sink"]] = reported.sent.get(match["sink"], 0) + int(metric.sum)
    elif metric.id == _BACKPRESSURED:
        reported.backpressured = max(metric.max / 1000, reported.backpressured or 0.0)


def _keep_smallest(found: dict[Partition, int], match: re.Match[str], value: float) -> None:
    """Several sources may read a topic: the one that is furthest behind counts."""
    partition = (match["topic"], int(match["number"]))
    found[partition] = min(int(value), found.get(partition, int(value)))
