"""The metrics of a job's tasks: positions and watermarks of its sources, counters of reads, windows and sinks.

Flink aggregates each metric over the subtasks, so that requests and answers stay small at any parallelism. The metrics'
names stay the same while a Flink job runs: they are requested once and kept in its snapshots.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
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
"""The counter of late records of every Flink operator that drops them: windows of SQL, the Table API and the DataStream
API, window joins, OVER aggregates, temporal sorts, pattern matching."""
_ROWS_IN = ".numRecordsIn"
"""The number of rows that came to the same operator."""
COUNTED = re.compile(
    r"(?P<operator>.+?)(?:\.deserializer)?\.(?P<what>records|malformedRecords|reportedMalformedRecords"
    r"|recordsDroppedAsOld|recordsDroppedAsAhead|recordsDroppedWithoutEventTime)"
)
"""The counters of the source of a read's table; include/java defines them."""
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
"""Subtasks of a source that are asked for a reason: one answer shows what is wrong."""
_MANY_MALFORMED = 0.01
"""From this share of malformed records, the newest reason is requested in each snapshot."""
SENT = re.compile(r"(?P<sink>.+)\.numRecordsSend")
"""The counter of sent records that every sink has since FLIP-33."""
_READER = ".KafkaSourceReader."
"""Part of the names of a Kafka source's metrics, registered before it knows its partitions."""
_BACKPRESSURED = "backPressuredTimeMsPerSecond"
_MOSTLY_IDLE = 500
"""Milliseconds per second."""
_REGISTERING_MS = 60_000
"""For this time after its start a job may register more metrics: those of a partition come with its first poll."""
_FIRST_FETCH_MS = 15_000
"""After this time the cluster has fetched a job's first metrics: it does so every 10 s."""


@dataclass
class TaskMetrics:
    """The metrics of all tasks that health is judged by.

    Attributes:
        positions: Offset of the last record read, by partition; negative: the task has read none since it started.
        watermarks: Epoch milliseconds, by partition.
        idle: Whether Flink has marked a partition as idle, for the partitions that were asked for.
        reads: Counters of reads since their tasks started, by the source's operator.
        windows: Counters of operators that drop late rows, by operator: `rows` and `late`.
        reasons: Why records of a read were malformed, by the read: the first reason and the last.
        uncounted: Reads whose sources report no counters.
        sent: Records that sinks have sent since their tasks started, by the sink's operator.
        backpressured: Share of the time that the most backpressured source subtask waits, 0 to 1; None: not known.
        names: The metrics' names, to be kept; empty until every topic has a reader.
        are_names_complete: No operator will register more of them.
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
    are_names_complete: bool = False
    unread: tuple[str, ...] = ()

    @property
    def late_dropped(self) -> int:
        """Rows that windows have dropped since their tasks started."""
        return sum(counts.get("late", 0) for counts in self.windows.values())

    def tally(self, at_ms: int) -> Tally | None:
        """The counters of reads and windows at a moment; None: no task has reported one."""
        reads = tuple(ReadCounts(read_name(name) or name, **counts) for name, counts in sorted(self.reads.items()))
        windows = tuple(
            WindowCounts(name, **counts)
            for name, counts in sorted(self.windows.items())
            # Metric names that an older version of Sluice has kept don't include the numbers of rows.
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
    untimed: Iterable[str] = (),
    all_registered: bool = True,
) -> TaskMetrics:
    """Read the metrics of a job: one request per vertex that reads, drops or sends, if its names fit into one.

    Args:
        flink: The cluster.
        detail: The job.
        topics: The partitions of each topic that the job reads.
        before: An earlier snapshot of the same Flink job. Its metric names save one request per vertex, its reasons
            why records were malformed save further ones.
        quiet: Partitions of which to ask whether Flink has marked them as idle.
        sources_alone: Leave out the vertices that read no topic.
        untimed: The topics without event time, whose sources don't count by event time.
        all_registered: The cluster's metrics are from a time when every operator had registered its own. Otherwise the
            names that are found now may be a part of them.

    Raises:
        UnreachableError: the cluster doesn't answer.
        FlinkError: the cluster refuses the request.
    """
    # So long after their start, tasks have registered their metrics, whether or not a checkpoint shows it.
    has_run_long = detail.now - detail.tasks_began_at > _REGISTERING_MS
    were_complete = before is not None and before.are_names_complete
    # Names that may be a part are requested again once they can be all.
    names = before.names if before and (were_complete or not (all_registered or has_run_long)) else None
    ids = {} if names else await _ids(flink, detail)
    known = names or {vertex: _names(found) for vertex, found in ids.items()}
    reported = TaskMetrics()
    asked = frozenset(quiet)
    for vertex in detail.vertices:
        if sources_alone and not vertex.is_source:
            continue
        wanted = list(_metric_names(vertex, known.get(vertex.id, VertexNames()), topics, asked))
        for call in calls.aggregates(detail.id, vertex.id, wanted):
            for metric in await flink.send(call):
                _store(metric, reported)
        await _ask_reasons(flink, detail.id, vertex, reported, before)
    unread = tuple(topic for topic in topics if topic not in _topics_read(known))
    counted = _counted(known)
    undated = _without_event_time_counters(known, counted, frozenset(topics) - frozenset(untimed))
    reported.uncounted = tuple(sorted(_uncounted(known, counted, topics) | undated))
    if names or (not unread and detail.tasks_running >= detail.tasks_total):
        reported.names = known
        reported.are_names_complete = were_complete or has_run_long or (all_registered and not undated)
    if names or _has_registered_all(detail, known, ids) or _is_without_kafka(detail, ids):
        reported.unread = unread
    return reported


async def _ids(flink: AsyncFlinkClient, detail: JobDetail) -> dict[str, list[str]]:
    """The names of all metrics of each vertex."""
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


def _uncounted(known: Mapping[str, VertexNames], counted: Mapping[str, Set[str]], topics: Iterable[str]) -> set[str]:
    """Declared reads whose sources report no counters.

    A pipeline may create tables of its own over other topics than the declared ones: their formats report none.
    """
    declared = frozenset(topics)
    readers = {operator for names in known.values() for operator, topic in names.readers if topic in declared}
    return {
        read for operator in readers if "records" not in counted.get(operator, ()) and (read := read_name(operator))
    }


def _without_event_time_counters(
    known: Mapping[str, VertexNames], counted: Mapping[str, Set[str]], timed: Set[str]
) -> set[str]:
    """Reads with event time whose sources count records, but not by their event time, because no partition is open yet.

    A source that reports malformed records as rows dates its records in the job, not here. Of several sources of one
    topic, only one may have an event time.
    """
    dated: dict[str, bool] = {}
    reads: dict[str, set[str]] = {}
    for operator, topic in (reader for names in known.values() for reader in names.readers):
        counts = counted.get(operator, frozenset())
        if topic in timed and "malformed" in counts and (read := read_name(operator)) is not None:
            dated[topic] = dated.get(topic, False) or "old" in counts
            reads.setdefault(topic, set()).add(read)
    return {read for topic, found in dated.items() if not found for read in reads[topic]}


def _counted(known: Mapping[str, VertexNames]) -> dict[str, set[str]]:
    """What each source's operator counts, in the words of `ReadCounts`."""
    found: dict[str, set[str]] = {}
    for name in (name for names in known.values() for name in names.counters):
        if match := COUNTED.fullmatch(name):
            found.setdefault(match["operator"], set()).add(_COUNTS[match["what"]])
    return found


async def _ask_reasons(
    flink: AsyncFlinkClient, job_id: str, vertex: Vertex, reported: TaskMetrics, before: Snapshot | None
) -> None:
    """Ask why records of a source were malformed, where no reason is known or the share of malformed ones is high."""
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
        if read in known and lately[read].malformed <= _MANY_MALFORMED * lately[read].records:
            reported.reasons[read] = known[read]
        elif read not in reported.reasons:
            wanted[operator] = read
    names = [
        f"{subtask}.{operator}.deserializer.{name}"
        for operator in wanted
        for subtask in range(min(vertex.parallelism, _REASON_SUBTASKS))
        for name in _REASONS
    ]
    values: dict[str, list[str]] = {}
    for call in calls.vertex_metrics(job_id, vertex.id, names):
        for metric in await flink.send(call):
            values.setdefault(metric.id.partition(".")[2], []).extend([metric.value] if metric.value else [])
    for operator, read in wanted.items():
        first, last = ([*values.get(f"{operator}.deserializer.{name}", ()), ""][0] for name in _REASONS)
        if first or last:
            reported.reasons[read] = (first, last)


def _topics_read(known: Mapping[str, VertexNames]) -> set[str]:
    return {topic for names in known.values() for _, topic in names.readers}


def _has_registered_all(detail: JobDetail, known: Mapping[str, VertexNames], ids: Mapping[str, Sequence[str]]) -> bool:
    """Whether no vertex will register metrics of further topics.

    Metric names that an earlier snapshot kept don't count: after the loss of a TaskManager, Flink reports incomplete
    metrics for minutes.
    """
    if detail.tasks_running < detail.tasks_total or detail.now - detail.start_time <= _REGISTERING_MS:
        return False
    reported_all = all(ids[vertex.id] for vertex in detail.vertices if vertex.is_source)
    # A Kafka source without partitions still waits for its brokers.
    return reported_all and not any(_has_reader(ids[vertex]) and not names.readers for vertex, names in known.items())


def _is_without_kafka(detail: JobDetail, ids: Mapping[str, Sequence[str]]) -> bool:
    """Whether all sources have registered their metrics, and none of them is a Kafka source."""
    if detail.tasks_running < detail.tasks_total or detail.now - detail.start_time <= _FIRST_FETCH_MS:
        return False
    reported_all = all(ids[vertex.id] for vertex in detail.vertices if vertex.is_source)
    return reported_all and not any(map(_has_reader, ids.values()))


def _has_reader(ids: Iterable[str]) -> bool:
    return any(_READER in name for name in ids)


def _metric_names(
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


def _store(metric: MetricAggregate, reported: TaskMetrics) -> None:
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
    """Keep the smallest value of a partition: of several sources that read a topic, the slowest one counts."""
    partition = (match["topic"], int(match["number"]))
    found[partition] = min(int(value), found.get(partition, int(value)))
