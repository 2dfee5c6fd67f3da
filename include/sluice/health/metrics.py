"""What a job's tasks report: positions and watermarks of its sources, and what reads, windows and sinks have counted.

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
from sluice.health.snapshot import Snapshot, VertexNames
from sluice.health.tally import ReadCounts, Tally, WindowCounts, difference, read_name
from sluice.kafka.offsets import Partition

POSITION = re.compile(
    r"(?P<operator>.+)\.KafkaSourceReader\.topic\.(?P<topic>.+)\.partition\.(?P<number>\d+)\.currentOffset"
)
WATERMARK = re.compile(r".+\.split\.(?P<topic>.+)-(?P<number>\d+)\.watermark\.currentWatermark")
IDLE = re.compile(r".+\.split\.(?P<topic>.+)-(?P<number>\d+)\.watermark\.idleTimeMsPerSecond")
LATE = re.compile(r".*\.numLateRecordsDropped")
"""Every operator of Flink that drops what comes behind its watermark counts it under this name: windows of SQL, the
Table API and the DataStream API, window joins, OVER aggregates, temporal sorts, pattern matching."""
_ROWS_IN = ".numRecordsIn"
"""Beside it: how many rows came to that operator."""
COUNTED = re.compile(
    r"(?P<operator>.+?)(?:\.deserializer)?\.(?P<what>records|malformedRecords|reportedMalformedRecords"
    r"|recordsDroppedAsOld|recordsDroppedAsAhead|recordsDroppedWithoutEventTime)"
)
"""What the source of a read's table counts: see include/java."""
_COUNTS = {
    "records": "records",
    "malformedRecords": "malformed",
    "reportedMalformedRecords": "reported",
    "recordsDroppedAsOld": "old",
    "recordsDroppedAsAhead": "ahead",
    "recordsDroppedWithoutEventTime": "timeless",
}
_REASONS = ("firstMalformedReason", "lastMalformedReason")
_REASON_SUBTASKS = 8
"""How many subtasks of a source are asked for a reason: one is enough to see what is wrong."""
_MANY = 0.01
"""From this share of malformed records on, the last reason is asked for at each look."""
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
        reads: What reads have counted since their tasks started, by the source's operator.
        windows: What operators that drop rows behind their watermark have counted, by operator: rows, and late ones.
        reasons: Why records of a read were malformed, by the read: the first and the last.
        uncounted: Reads whose sources count nothing.
        sent: Records that sinks have sent since their tasks started, by the sink's operator.
        backpressured: Of the most hindered subtask of a source, 0 to 1; None: not known.
        names: To be remembered; empty as long as a topic is not among what is read.
        unread: Topics that no Kafka source of the job reads, as far as that is known.
    """

    positions: dict[Partition, int] = field(default_factory=dict)
    watermarks: dict[Partition, int] = field(default_factory=dict)
    idle: dict[Partition, bool] = field(default_factory=dict)
    reads: dict[str, dict[str, int]] = field(default_factory=dict)
    windows: dict[str, dict[str, int]] = field(default_factory=dict)
    reasons: dict[str, tuple[str, str]] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()
    sent: dict[str, int] = field(default_factory=dict)
    backpressured: float | None = None
    names: Mapping[str, VertexNames] = field(default_factory=dict)
    unread: tuple[str, ...] = ()

    @property
    def late_dropped(self) -> int:
        """Rows that windows have dropped since their tasks started."""
        return sum(counts.get("late", 0) for counts in self.windows.values())

    def tally(self, at_ms: int) -> Tally | None:
        """The counters of reads and windows; None: none of them has told any."""
        reads = tuple(ReadCounts(read_name(name) or name, **counts) for name, counts in sorted(self.reads.items()))
        windows = tuple(
            WindowCounts(name, **counts)
            for name, counts in sorted(self.windows.items())
            # An older Sluice remembered the names of a running job's metrics without those of rows.
            if reads or "rows" in counts
        )
        return Tally(at_ms, reads, windows) if reads or windows else None


async def read_metrics(
    flink: AsyncFlinkClient,
    detail: JobDetail,
    topics: Mapping[str, Iterable[int]],
    before: Snapshot | None = None,
    quiet: Iterable[Partition] = (),
    *,
    sources_alone: bool = False,
) -> Reported:
    """Ask the vertices of a job: a call for each that reads, drops or sends, as long as the names fit into one.

    Args:
        flink: The cluster.
        detail: The job.
        topics: The partitions of each topic that it reads.
        before: An earlier snapshot of the same Flink job, with the metrics' names; without them they are asked for, a
            call for each vertex. It has as well why records were malformed.
        quiet: Partitions of which to ask whether Flink takes them for idle.
        sources_alone: Leave out the vertices that read no topic.

    Raises:
        UnreachableError: the cluster doesn't answer.
        FlinkError: the cluster said no.
    """
    names = before.names if before else None
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
        await _ask_reasons(flink, detail.id, vertex, reported, before)
    unread = tuple(topic for topic in topics if topic not in _read(known))
    if names or (not unread and detail.tasks_running >= detail.tasks_total):
        reported.names = known
    reported.uncounted = tuple(sorted(_uncounted(known, topics)))
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
    counters = tuple(name for name in found if any(kind.fullmatch(name) for kind in (LATE, SENT, COUNTED)))
    rows = tuple(name.rpartition(".")[0] + _ROWS_IN for name in counters if LATE.fullmatch(name))
    counters += tuple(name for name in rows if name in found)
    return VertexNames(tuple(sorted(readers)), counters)


def _uncounted(known: Mapping[str, VertexNames], topics: Iterable[str]) -> set[str]:
    """Reads whose table is read, and whose sources do not count their records.

    A pipeline may have tables of its own, over other topics than its job's reads: their formats count nothing.
    """
    declared = frozenset(topics)
    readers = {operator for names in known.values() for operator, topic in names.readers if topic in declared}
    counted = {match["operator"] for names in known.values() for name in names.counters if (match := _all(name))}
    return {read for operator in readers - counted if (read := read_name(operator)) is not None}


def _all(name: str) -> re.Match[str] | None:
    match = COUNTED.fullmatch(name)
    return match if match and match["what"] == "records" else None


async def _ask_reasons(
    flink: AsyncFlinkClient, job_id: str, vertex: Vertex, reported: Reported, before: Snapshot | None
) -> None:
    """Why records of a source were malformed: asked where that isn't known yet, or where many of them are."""
    tally = reported.tally(0)
    if not vertex.is_source or tally is None:
        return
    then = before.tally if before and before.tally and before.tally.is_before(tally) else None
    known = dict(before.reasons) if before and then else {}
    lately = {read.name: read for read in difference(tally, then).reads}
    wanted: dict[str, str] = {}
    for operator, counts in reported.reads.items():
        read = read_name(operator) or operator
        if not counts.get("malformed") or not vertex.name.startswith("Source:"):
            continue
        if read in known and lately[read].malformed <= _MANY * lately[read].records:
            reported.reasons[read] = known[read]
        elif read not in reported.reasons:
            wanted[operator] = read
    names = [
        f"{subtask}.{operator}.deserializer.{name}"
        for operator in wanted
        for subtask in range(min(vertex.parallelism, _REASON_SUBTASKS))
        for name in _REASONS
    ]
    told: dict[str, list[str]] = {}
    for call in calls.vertex_metrics(job_id, vertex.id, names):
        for metric in await flink.send(call):
            told.setdefault(metric.id.partition(".")[2], []).extend([metric.value] if metric.value else [])
    for operator, read in wanted.items():
        first, last = ([*told.get(f"{operator}.deserializer.{name}", ()), ""][0] for name in _REASONS)
        if first or last:
            reported.reasons[read] = (first, last)


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
        _count(reported.windows, metric.id.rpartition(".")[0], "late", metric.sum)
    elif metric.id.endswith(_ROWS_IN):
        _count(reported.windows, metric.id.removesuffix(_ROWS_IN), "rows", metric.sum)
    elif match := COUNTED.fullmatch(metric.id):
        _count(reported.reads, match["operator"], _COUNTS[match["what"]], metric.sum)
    elif match := SENT.fullmatch(metric.id):
        reported.sent[match["sink"]] = reported.sent.get(match["sink"], 0) + int(metric.sum)
    elif metric.id == _BACKPRESSURED:
        reported.backpressured = max(metric.max / 1000, reported.backpressured or 0.0)


def _count(counted: dict[str, dict[str, int]], operator: str, what: str, value: float) -> None:
    counts = counted.setdefault(operator, {})
    counts[what] = counts.get(what, 0) + int(value)


def _keep_smallest(found: dict[Partition, int], match: re.Match[str], value: float) -> None:
    """Several sources may read a topic: the one that is furthest behind counts."""
    partition = (match["topic"], int(match["number"]))
    found[partition] = min(int(value), found.get(partition, int(value)))
