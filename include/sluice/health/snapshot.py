"""What is known of a running job at one moment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from sluice.flink.models import JobState
from sluice.health.tally import Tally
from sluice.kafka.offsets import Partition

WINDOW_MS = 600_000
"""Over how long restarts and failed checkpoints are counted: ten minutes."""


@dataclass(frozen=True)
class SplitReading:
    """One partition, as the job reads it.

    Attributes:
        lag: Records between the broker's end and the job's position; None: the position isn't known.
        watermark_ms: The partition's watermark, epoch milliseconds; None: it has none yet.
        following: The offset that is read next; None: not known.
        end: The offset that the next record will get.
        still_since_ms: The first moment at which it was seen to stand where it stands now, with records to read;
            None: it moves, or has nothing to read.
        is_idle: Flink takes it for idle, so that it holds no watermark back; None: not asked.
        is_guessed: Neither its reader nor anything before tells where it stands: `following` is the first offset held.
    """

    lag: int | None
    watermark_ms: int | None
    following: int | None = None
    end: int | None = None
    still_since_ms: int | None = None
    is_idle: bool | None = None
    is_guessed: bool = False


@dataclass(frozen=True)
class Failure:
    """A failure that made tasks start again, or a checkpoint that came to nothing.

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
        completed: Since the job was submitted.
        failed: Since the job was submitted; those that could not begin, count.
        age_ms: Since the newest completed one; None: there is none.
        duration_ms: Of the newest completed one.
        size: Of the newest completed one, bytes.
        failures: Those that failed in the last `WINDOW_MS`, newest first, as far as the cluster remembers them.
        failed_in_a_row: How many of the newest ones failed, as far as the cluster remembers.
        triggered_ms: When the newest completed one began, epoch milliseconds by the JobManager's clock; None: there is
            none.
    """

    completed: int = 0
    failed: int = 0
    age_ms: int | None = None
    duration_ms: int | None = None
    size: int | None = None
    failures: tuple[Failure, ...] = ()
    failed_in_a_row: int = 0
    triggered_ms: int | None = None


@dataclass(frozen=True)
class VertexNames:
    """The names of a vertex's metrics that say something about health: they stay the same for as long as a job runs.

    Attributes:
        readers: Of each Kafka topic that it reads: the operator, and the topic.
        counters: Records that reads have left out, rows that windows have dropped, records that sinks have sent.
    """

    readers: tuple[tuple[str, str], ...] = ()
    counters: tuple[str, ...] = ()


@dataclass(frozen=True)
class Work:
    """What a vertex's subtasks have spent their time with since they began, milliseconds, summed."""

    name: str
    parallelism: int
    busy_ms: float = 0
    backpressured_ms: float = 0
    idle_ms: float = 0

    @property
    def total_ms(self) -> float:
        """It grows as long as the cluster's metrics do."""
        return self.busy_ms + self.backpressured_ms + self.idle_ms


@dataclass(frozen=True)
class Counters:
    """What was counted since the tasks began; None: not known.

    Attributes:
        records_in: What the sources have read.
        records_out: What the sinks have sent, dead letters included.
        dead_letters: What the sinks for dead letters have sent; None as well where the job has none.
        late_dropped: Rows that windows have dropped because they came behind the watermark.
    """

    records_in: int | None = None
    records_out: int | None = None
    dead_letters: int | None = None
    late_dropped: int = 0


@dataclass(frozen=True)
class Load:
    """What a vertex spends its time with since the former snapshot, 0 to 1, averaged over its subtasks."""

    name: str
    busy: float
    backpressured: float


@dataclass(frozen=True)
class Trend:
    """What has changed since the former snapshot of the same Flink job. None: not known.

    Attributes:
        since_ms: When that was, epoch milliseconds; None: there is none.
        lag_per_s: Records per second by which the consumer lag rises; negative: it falls.
        records_in_per_s: What the sources read.
        records_out_per_s: What the sinks send.
        dead_letters_per_min: What the sinks for dead letters send.
        malformed_per_s: Records that break the contract of a read.
        late_per_s: Records and rows that are left out for their event time, by reads and by windows.
        arrived: How much further the partitions reach, by the brokers' ends; None where one of them isn't known.
        loads: By vertex.
        is_stale: The cluster's metrics stand still: nothing can be said of what else stands still.
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
        state: The job's state; None: the cluster doesn't know the job.
        flink_job_id: The job's id in Flink.
        running_ms: Since it was submitted.
        restarts: Since it was submitted.
        failures: The newest ones that the cluster remembers, newest first.
        restored_from: What it was restored from.
        splits: By partition of the topics that it reads; empty: it reads none.
        untimed: Topics that it reads without event time: they have no watermark to be judged by.
        unread: Topics that it is to read, and no Kafka source of it does: where it stands in them can't be known.
        backpressured: How much of the time the most hindered subtask of a source waits for those behind it, 0 to 1.
        problems: Why something could not be read.
        names: Its metrics' names by vertex; empty: they have to be asked for.
        cluster_ms: The JobManager's clock when everything was read, epoch milliseconds.
        began_ms: When the newest of its tasks began, or was about to begin anew, by the JobManager's clock.
        has_restarted: Tasks have begun anew since it was submitted.
        tally: What its reads and windows have counted since their tasks began.
        past: What they had counted in earlier snapshots of these tasks, of the last `WINDOW_MS`, oldest first.
        reasons: Why a record of a read was malformed: of the first since the tasks began, and of the last.
        uncounted: Reads whose sources do not count what they leave out.
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
    cluster_ms: int = 0
    began_ms: int = 0
    has_restarted: bool = False
    tally: Tally | None = None
    past: tuple[Tally, ...] = ()
    reasons: Mapping[str, tuple[str, str]] = field(default_factory=dict)
    uncounted: tuple[str, ...] = ()

    @property
    def last_exception(self) -> str | None:
        """The newest failure, one line."""
        return self.failures[0].words if self.failures else None

    @property
    def recent_failures(self) -> tuple[Failure, ...]:
        """Those of the last `WINDOW_MS`, newest first."""
        return tuple(failure for failure in self.failures if failure.at_ms > self.at_ms - WINDOW_MS)

    @property
    def reads_nothing(self) -> bool:
        """The job has no reads: neither lag nor watermark can be wrong."""
        return self.splits is not None and not self.splits

    @property
    def consumer_lag(self) -> int | None:
        """Records behind, over all partitions; None as soon as one of them isn't known."""
        if self.splits is None or self.with_unknown_lag:
            return None
        return sum(split.lag or 0 for split in self.splits.values())

    @property
    def with_unknown_lag(self) -> tuple[Partition, ...]:
        """Partitions where the job's position isn't known."""
        return tuple(partition for partition, split in (self.splits or {}).items() if split.lag is None)

    @property
    def timed_splits(self) -> dict[Partition, SplitReading]:
        """Those that have a watermark, or are to have one."""
        return {key: split for key, split in (self.splits or {}).items() if key[0] not in self.untimed}

    @property
    def has_no_event_time(self) -> bool:
        """It reads, and nothing of it has a watermark."""
        return bool(self.splits) and not self.timed_splits

    @property
    def without_watermark(self) -> tuple[Partition, ...]:
        """Partitions that hold the watermark back, or may, because they have none."""
        return tuple(
            partition
            for partition, split in self.timed_splits.items()
            if split.watermark_ms is None and (split.lag != 0 or split.is_idle is False)
        )

    @property
    def newest_watermark_ms(self) -> int | None:
        """Of the partition that is furthest ahead."""
        marks = [split.watermark_ms for split in self.timed_splits.values() if split.watermark_ms is not None]
        return max(marks, default=None)

    @property
    def watermark_lag_ms(self) -> int | None:
        """Wall clock less the smallest watermark; None as long as a partition with records to read has none.

        A partition that is read to its end and lies behind the others is idle, and doesn't count, unless Flink says
        that it isn't idle.
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

    def standing(self, limit_ms: int) -> dict[Partition, int]:
        """Partitions that stand still for longer than this with records to read, each with since when."""
        return {
            partition: split.still_since_ms
            for partition, split in (self.splits or {}).items()
            if split.still_since_ms is not None and self.at_ms - split.still_since_ms > limit_ms
        }

    def reads_nothing_of_its_input(self, limit_ms: int) -> bool:
        """Records wait for it, and nobody has read any of them for longer than this."""
        waiting = {partition for partition, split in (self.splits or {}).items() if split.lag != 0}
        return bool(waiting) and waiting == self.standing(limit_ms).keys()

    @property
    def is_idle(self) -> bool:
        """Everything was read; more may be coming all the time."""
        return self.consumer_lag == 0 and not self.reads_nothing

    @property
    def nothing_arrives(self) -> bool:
        """No record came since the former snapshot; without one, since the tasks began.

        By the brokers' ends where they are known, else by what the sources have counted. What isn't known is no sign.
        """
        if self.trend.arrived is not None:
            return self.trend.arrived == 0
        if self.trend.records_in_per_s is not None:
            return self.trend.records_in_per_s == 0
        return self.tally is not None and bool(self.tally.reads) and self.tally.records == 0

    def quiet_splits(self, behind_ms: int) -> tuple[Partition, ...]:
        """Partitions that are read to their end and lie this far behind the one that is furthest ahead."""
        newest = self.newest_watermark_ms
        if newest is None:
            return ()
        return tuple(
            partition
            for partition, split in self.timed_splits.items()
            if split.lag == 0 and newest - (split.watermark_ms or 0) > behind_ms
        )
