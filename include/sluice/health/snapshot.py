"""The values of a snapshot: what is known of a running job at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluice.flink.models import JobState
from sluice.health.tally import Tally
from sluice.kafka.offsets import Partition

WINDOW_MS = 600_000
"""Restarts and failed checkpoints are counted over this time: ten minutes."""


@dataclass(frozen=True)
class SplitReading:
    """A partition as the job reads it.

    Attributes:
        lag: Records between the job's position and the partition's end; None: the position isn't known.
        watermark_ms: The partition's watermark, epoch milliseconds; None: it has none yet.
        next_offset: The offset that the job reads next; None: not known.
        end: The offset that the next record will get.
        stalled_since_ms: When its position was first seen unchanged with records to read; None: it moves, or is read
            to its end.
        is_idle: Flink has marked it as idle, so that it holds no watermark back; None: not requested.
        is_guessed: Its position isn't known; `next_offset` is the first offset that the broker holds.
    """

    lag: int | None
    watermark_ms: int | None
    next_offset: int | None = None
    end: int | None = None
    stalled_since_ms: int | None = None
    is_idle: bool | None = None
    is_guessed: bool = False


@dataclass(frozen=True)
class Failure:
    """A failure that restarted tasks, or a checkpoint that failed.

    Attributes:
        at_ms: Epoch milliseconds.
        words: One line; of an exception: its class, a colon, its message.
        is_python: It was raised by the job's Python code.
    """

    at_ms: int
    words: str
    is_python: bool = False

    @property
    def name(self) -> str:
        """The exception's class, as far as the words begin with one."""
        return self.words.partition(":")[0]


@dataclass(frozen=True)
class CheckpointReading:
    """A job's checkpoints.

    Attributes:
        completed: Completed checkpoints since the job was submitted.
        failed: Failed checkpoints since then, also those that could not begin.
        age_ms: Age of the newest completed checkpoint; None: there is none.
        duration_ms: Duration of the newest completed checkpoint.
        size: Size of the newest completed checkpoint, bytes.
        failures: Checkpoints that failed in the last `WINDOW_MS`, newest first, as far as Flink's history goes.
        failed_in_a_row: How many of the newest checkpoints failed, as far as Flink's history goes.
        triggered_ms: When the newest completed checkpoint was triggered, epoch milliseconds by the JobManager's clock;
            None: there is none.
        in_metrics: How many completed checkpoints the cluster's metrics show, which are older than the other values by
            up to `metrics.fetcher.update-interval`; None: not known.
    """

    completed: int = 0
    failed: int = 0
    age_ms: int | None = None
    duration_ms: int | None = None
    size: int | None = None
    failures: tuple[Failure, ...] = ()
    failed_in_a_row: int = 0
    triggered_ms: int | None = None
    in_metrics: int | None = None


@dataclass(frozen=True)
class VertexNames:
    """The names of a vertex's metrics that health is judged by; they don't change while a Flink job runs.

    Attributes:
        readers: The operator and the topic of each Kafka topic that the vertex reads.
        counters: Counters of reads, of windows that drop late rows, and of sinks.
    """

    readers: tuple[tuple[str, str], ...] = ()
    counters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """How a vertex's subtasks have spent their time since they started, milliseconds, summed over the subtasks."""

    name: str
    parallelism: int
    busy_ms: float = 0
    backpressured_ms: float = 0
    idle_ms: float = 0

    @property
    def total_ms(self) -> float:
        """The sum; it grows whenever Flink fetches new metrics."""
        return self.busy_ms + self.backpressured_ms + self.idle_ms


@dataclass(frozen=True)
class Counters:
    """What was counted since the tasks started; None: not known.

    Attributes:
        records_in: Records that the sources have read.
        records_out: Records that the sinks have sent, dead letters included.
        dead_letters: Records that the dead letter sinks have sent; None too if the job has none.
        late_dropped: Late rows that windows have dropped.
    """

    records_in: int | None = None
    records_out: int | None = None
    dead_letters: int | None = None
    late_dropped: int = 0


@dataclass(frozen=True)
class Load:
    """How a vertex spends its time since the previous snapshot: shares of 0 to 1, averaged over its subtasks."""

    name: str
    busy: float
    backpressured: float


@dataclass(frozen=True)
class Trend:
    """The changes since the previous snapshot of the same Flink job. None: not known.

    Attributes:
        since_ms: When the previous snapshot was read, epoch milliseconds; None: there is none.
        lag_per_s: Records per second by which the consumer lag rises; negative: it falls.
        records_in_per_s: Records per second that the sources read.
        records_out_per_s: Records per second that the sinks send.
        dead_letters_per_min: Records per minute that the dead letter sinks send.
        malformed_per_s: Records per second that break the contract of a read.
        late_per_s: Records and rows per second that reads and windows leave out for their event time.
        arrived: Records that came, by the partitions' end offsets; None if one of those isn't known.
        loads: By vertex.
        is_stale: Flink has fetched no new metrics, so that an unchanged position proves nothing.
    """

    since_ms: int | None = None
    lag_per_s: float | None = None
    records_in_per_s: float | None = None
    records_out_per_s: float | None = None
    dead_letters_per_min: float | None = None
    malformed_per_s: float | None = None
    late_per_s: float | None = None
    arrived: int | None = None
    loads: tuple[Load, ...] = ()
    is_stale: bool = False


@dataclass(frozen=True)
class Snapshot:
    """A job at one moment. None always means: not known.

    Attributes:
        at_ms: When it was read, epoch milliseconds.
        state: The job's state; None: Flink doesn't know the job.
        flink_job_id: The job's id in Flink.
        running_ms: Time since it was submitted.
        restarts: Restarts since it was submitted.
        failures: The newest failures in Flink's exception history, newest first.
        restored_from: The savepoint or checkpoint that it was restored from.
        splits: Its partitions; empty: it reads no topic.
        untimed: Topics that it reads without event time, so that they have no watermark.
        unread: Declared topics that no Kafka source of the job reads, so that their positions can't be known.
        backpressured: Share of the time that the most backpressured source subtask waits, 0 to 1.
        problems: Why a part of the snapshot could not be read.
        names: Its metrics' names by vertex; empty: the next snapshot requests them.
        are_names_complete: No operator will register more of them; False: they are requested again.
        cluster_ms: The JobManager's clock when everything was read, epoch milliseconds.
        began_ms: When the newest of its tasks started or began to restart, by the JobManager's clock.
        has_restarted: Tasks have restarted since it was submitted.
        tally: Counters of its reads and windows since their tasks started.
        past: These counters in earlier snapshots of the same tasks, of the last `WINDOW_MS`, oldest first.
        reasons: Why records of a read were malformed: the first reason since the tasks started, and the last.
        uncounted: Reads whose sources don't report what they leave out.
    """

    at_ms: int
    state: JobState | None
    flink_job_id: str | None = None
    running_ms: int = 0
    tasks_total: int = 0
    tasks_running: int = 0
    restarts: int | None = None
    failures: tuple[Failure, ...] = ()
    checkpoints: CheckpointReading = CheckpointReading()
    restored_from: str | None = None
    splits: Mapping[Partition, SplitReading] | None = None
    untimed: tuple[str, ...] = ()
    unread: tuple[str, ...] = ()
    counters: Counters = Counters()
    work: tuple[Work, ...] = ()
    backpressured: float | None = None
    trend: Trend = Trend()
    problems: tuple[str, ...] = ()
    names: Mapping[str, VertexNames] = field(default_factory=dict)
    are_names_complete: bool = False
    cluster_ms: int = 0
    began_ms: int = 0
    has_restarted: bool = False
    tally: Tally | None = None
    past: tuple[Tally, ...] = ()
    reasons: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()

    @property
    def last_exception(self) -> str | None:
        """The newest failure; one line."""
        return self.failures[0].words if self.failures else None

    @property
    def recent_failures(self) -> tuple[Failure, ...]:
        """The failures of the last `WINDOW_MS`, newest first."""
        return tuple(failure for failure in self.failures if failure.at_ms > self.at_ms - WINDOW_MS)

    @property
    def reads_nothing(self) -> bool:
        """Whether the job declares no topics, so that neither lag nor watermark can be judged."""
        return self.splits is not None and not self.splits

    @property
    def consumer_lag(self) -> int | None:
        """Consumer lag in records, over all partitions; None if that of one partition isn't known."""
        if self.splits is None or self.with_unknown_lag:
            return None
        return sum(split.lag or 0 for split in self.splits.values())

    @property
    def with_unknown_lag(self) -> tuple[Partition, ...]:
        """Partitions whose position isn't known."""
        return tuple(partition for partition, split in (self.splits or {}).items() if split.lag is None)

    @property
    def timed_splits(self) -> dict[Partition, SplitReading]:
        """Partitions that have, or will have, a watermark."""
        return {key: split for key, split in (self.splits or {}).items() if key[0] not in self.untimed}

    @property
    def has_no_event_time(self) -> bool:
        """Whether it reads topics, all of them without event time."""
        return bool(self.splits) and not self.timed_splits

    @property
    def without_watermark(self) -> tuple[Partition, ...]:
        """Partitions without a watermark that hold the job's watermark back, or may."""
        return tuple(
            partition
            for partition, split in self.timed_splits.items()
            if split.watermark_ms is None and (split.lag != 0 or split.is_idle is False)
        )

    @property
    def newest_watermark_ms(self) -> int | None:
        """The newest watermark of its partitions, epoch milliseconds."""
        marks = [split.watermark_ms for split in self.timed_splits.values() if split.watermark_ms is not None]
        return max(marks, default=None)

    @property
    def watermark_lag_ms(self) -> int | None:
        """Wall clock minus the smallest watermark; None while a partition with records to read has no watermark.

        A partition that is read to its end and lies behind the newest watermark counts as idle and is left out, unless
        Flink reports that it isn't idle.
        """
        newest = self.newest_watermark_ms
        if newest is None or self.without_watermark:
            return None
        busy = [
            split.watermark_ms
            for split in self.timed_splits.values()
            if split.watermark_ms is not None and (split.lag != 0 or split.is_idle is False)
        ]
        return self.at_ms - min([*busy, newest])

    def stalled_splits(self, limit_ms: int) -> dict[Partition, int]:
        """Partitions whose position has not moved for longer than this with records to read, and since when."""
        return {
            partition: split.stalled_since_ms
            for partition, split in (self.splits or {}).items()
            if split.stalled_since_ms is not None and self.at_ms - split.stalled_since_ms > limit_ms
        }

    def is_stalled(self, limit_ms: int) -> bool:
        """Whether records wait in some partitions, and none of those has moved for longer than this."""
        waiting = {partition for partition, split in (self.splits or {}).items() if split.lag != 0}
        return bool(waiting) and waiting == self.stalled_splits(limit_ms).keys()

    @property
    def is_idle(self) -> bool:
        """Whether it has read all records; more may arrive all the time."""
        return self.consumer_lag == 0 and not self.reads_nothing

    @property
    def nothing_arrives(self) -> bool:
        """Whether no record came since the previous snapshot, or since the tasks started if there is none.

        By the partitions' end offsets if known, else by the sources' counters. False if neither is known.
        """
        if self.trend.arrived is not None:
            return self.trend.arrived == 0
        if self.trend.records_in_per_s is not None:
            return self.trend.records_in_per_s == 0
        return self.tally is not None and bool(self.tally.reads) and self.tally.records == 0

    def quiet_splits(self, behind_ms: int) -> tuple[Partition, ...]:
        """Partitions that are read to their end and whose watermark lies this far behind the newest one."""
        newest = self.newest_watermark_ms
        if newest is None:
            return ()
        return tuple(
            partition
            for partition, split in self.timed_splits.items()
            if split.lag == 0 and newest - (split.watermark_ms or 0) > behind_ms
        )
