"""What is known of a running job at one moment."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.flink.models import JobState
from sluice.kafka.offsets import Partition


@dataclass(frozen=True)
class SplitReading:
    """One partition, as the job reads it.

    Attributes:
        lag: Records between the broker's end and the job's position; None: the position isn't known.
        watermark_ms: The partition's watermark, epoch milliseconds; None: it has none yet.
    """

    lag: int | None
    watermark_ms: int | None


@dataclass(frozen=True)
class Snapshot:
    """A job at one moment. None always means: not known.

    Attributes:
        at_ms: When it was read, epoch milliseconds.
        state: The job's state; None: the cluster doesn't know the job.
        restarts: Since it was submitted.
        completed_checkpoints: Since it was submitted.
        checkpoint_age_ms: Since the newest completed checkpoint.
        restored_from: What it was restored from.
        splits: By partition of the topics that it reads; empty: it reads none.
        late_dropped: Rows that its windows have dropped because they came behind the watermark, since the tasks
            started.
        last_exception: The newest failure, one line.
    """

    at_ms: int
    state: JobState | None
    running_ms: int = 0
    tasks_total: int = 0
    tasks_running: int = 0
    restarts: int | None = None
    completed_checkpoints: int = 0
    checkpoint_age_ms: int | None = None
    restored_from: str | None = None
    splits: dict[Partition, SplitReading] | None = None
    late_dropped: int = 0
    last_exception: str | None = None

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
    def without_watermark(self) -> tuple[Partition, ...]:
        """Partitions that have, or may have, records to read, and no watermark."""
        return tuple(
            partition
            for partition, split in (self.splits or {}).items()
            if split.watermark_ms is None and split.lag != 0
        )

    @property
    def watermark_lag_ms(self) -> int | None:
        """Wall clock less the smallest watermark; None as long as a partition with records to read has none.

        A partition that is read to its end and lies behind the others is idle, and doesn't count.
        """
        marks = [(s.watermark_ms, s.lag) for s in (self.splits or {}).values() if s.watermark_ms is not None]
        if not marks or self.without_watermark:
            return None
        busy = [mark for mark, lag in marks if lag != 0]
        newest = max(mark for mark, _ in marks)
        return self.at_ms - min([*busy, newest])

    @property
    def is_idle(self) -> bool:
        """Everything was read, so that no watermark can move."""
        return self.consumer_lag == 0 and not self.reads_nothing
