"""Proof of progress: a started job has read its waiting records, and a checkpoint covers them. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.flink.models import JobState
from sluice.health.formatting import clock, named
from sluice.health.snapshot import Snapshot, SplitReading
from sluice.kafka.offsets import Partition

_BACKLOG_MS = 30_000
"""Waiting records that take longer to read are a backlog, of which the first records are proof enough."""
_METRICS_MS = 15_000
"""For this time after a restart, positions may be those of the tasks before it: Flink fetches metrics every 10 s."""
_CACHED_CHECKPOINTS = 10
"""Flink's list of checkpoints may lack so many newer ones: it is cached for `web.refresh-interval`."""
_LONG_RUN_MS = 600_000
"""A checkpoint that began so long after its tasks were deployed covers their waiting records: tasks may initialize for
minutes before they read."""


class Proof:
    """What is proven of a started job; each snapshot adds to it.

    A restart discards the proof: the restarted tasks must read the waiting records, and complete a checkpoint.

    Args:
        ends: The end offset of each partition when the job was started; records before it are the waiting records.
        started_at: The offsets that the job was started at; None: those of the first snapshot.
    """

    def __init__(self, ends: Mapping[Partition, int], started_at: Mapping[Partition, int] | None = None) -> None:
        self._ends = ends
        self._start_offsets = dict(started_at or {})
        self._first_offsets = dict(self._start_offsets)
        self._began_ms: int | None = None
        self._running_ms = 0
        self._moved_ms: int | None = None
        self._read_ms: int | None = None
        self._covered_by: int | None = None
        self._are_counts_new = False
        self.lacks_only_checkpoint = False
        """Whether the last snapshot lacked only a checkpoint that covers what was read."""

    def missing(self, snapshot: Snapshot) -> str | None:
        """What is not proven yet, one line; None: everything is."""
        self.lacks_only_checkpoint = False
        if snapshot.state is not JobState.RUNNING or snapshot.tasks_running < snapshot.tasks_total:
            return "not all tasks are running"
        if snapshot.began_ms != self._began_ms:
            self._began_ms, self._moved_ms, self._read_ms = snapshot.began_ms, None, None
            self._covered_by, self._are_counts_new = None, False
            self._running_ms = snapshot.cluster_ms
        if self._has_run_long(snapshot):
            return None
        if self._read_ms is None and (words := self._unread(snapshot)):
            return words
        uncovered = self._uncovered(snapshot)
        self.lacks_only_checkpoint = uncovered is not None
        if uncovered is None and self._has_read(snapshot):
            return self._uncounted(snapshot)
        return uncovered

    def _has_run_long(self, snapshot: Snapshot) -> bool:
        """Whether its tasks ran long before their newest checkpoint, and every partition has moved from its start."""
        triggered, splits = snapshot.checkpoints.triggered_ms, snapshot.splits
        if triggered is None or splits is None or triggered - snapshot.began_ms <= _LONG_RUN_MS:
            return False
        return not any(
            split.lag != 0
            and (split.next_offset or 0) <= self._start_offsets.get(partition, -1) < self._ends.get(partition, 0)
            for partition, split in splits.items()
        )

    def _unread(self, snapshot: Snapshot) -> str | None:
        """The waiting records that have not been read."""
        splits = snapshot.splits
        if splits is None:
            return "its positions in its topics are not known yet"
        # Counted from when all tasks run: until then Flink shows the metrics of the tasks before.
        if snapshot.has_restarted and snapshot.cluster_ms - self._running_ms < _METRICS_MS:
            return f"its tasks restarted at {clock(snapshot.began_ms)}: what they have read is not known yet"
        waiting = {p: split for p, split in splits.items() if p in self._ends and p[0] not in snapshot.unread}
        if unknown := [partition for partition, split in waiting.items() if split.next_offset is None]:
            return f"its position in {named(unknown)} is not known yet"
        return self._unread_backlog(waiting, snapshot.cluster_ms)

    def _unread_backlog(self, waiting: Mapping[Partition, SplitReading], now_ms: int) -> str | None:
        unread = []
        for partition, split in waiting.items():
            self._first_offsets.setdefault(partition, split.next_offset or 0)
            if split.lag != 0 and (split.next_offset or 0) < self._ends[partition]:
                unread.append(partition)
        if unmoved := [
            p for p in unread if waiting[p].is_guessed or (waiting[p].next_offset or 0) <= self._first_offsets[p]
        ]:
            return f"none of the records that wait in {named(unmoved)} has been read"
        if unread and self._moved_ms is None:
            self._moved_ms = now_ms
        if unread and now_ms - (self._moved_ms or 0) <= _BACKLOG_MS:
            return f"not all records that wait in {named(unread)} have been read"
        # For a backlog, a checkpoint must cover the first records.
        self._read_ms = self._moved_ms if unread else now_ms
        return None

    def _uncovered(self, snapshot: Snapshot) -> str | None:
        began = snapshot.checkpoints.triggered_ms
        if began is None:
            return "no checkpoint yet"
        # If nothing waited and nothing was read, any checkpoint of these tasks is proof.
        after = (self._read_ms or 0) if self._has_read(snapshot) else snapshot.began_ms
        return None if began > after else "no checkpoint yet that covers what was read"

    def _uncounted(self, snapshot: Snapshot) -> str | None:
        """Why the counters of what the job leaves out may be older than the checkpoint that covers what it read."""
        if self._covered_by is None:
            self._covered_by = snapshot.checkpoints.completed
        if not self._are_counts_new:
            in_metrics = snapshot.checkpoints.in_metrics
            # Flink asks JobManager and TaskManagers at once for their metrics. An answer of the TaskManagers that comes
            # later than that of the JobManager, which counts the checkpoints, is there by the next snapshot.
            # More than there are: the metrics are those of a former JobMaster.
            most = snapshot.checkpoints.completed + _CACHED_CHECKPOINTS
            self._are_counts_new = in_metrics is not None and self._covered_by <= in_metrics <= most
            return "how many of the records read are left out is not counted yet"
        if not snapshot.are_names_complete and not snapshot.unread:
            return "its operators have not registered all metrics yet"
        return None

    def _has_read(self, snapshot: Snapshot) -> bool:
        """Whether its tasks have read a record, or may have."""
        # The metric of records read may be older than the positions.
        moved = any(
            split.next_offset is not None
            and not split.is_guessed
            and split.next_offset != self._start_offsets.get(partition)
            for partition, split in (snapshot.splits or {}).items()
        )
        return moved or snapshot.counters.records_in != 0


class MetricsAge:
    """For how long a checkpoint has been complete that the cluster's metrics don't show; each snapshot adds to it."""

    def __init__(self) -> None:
        self._shown: int | None = None
        self._since_ms: int | None = None

    def stale_ms(self, snapshot: Snapshot) -> int:
        """Milliseconds since a checkpoint has been complete that the metrics don't show; 0: they show all of them."""
        shown, completed = snapshot.checkpoints.in_metrics, snapshot.checkpoints.completed
        if completed <= (shown or 0):
            self._since_ms = None
            return 0
        if self._since_ms is None or shown != self._shown:
            self._shown, self._since_ms = shown, snapshot.cluster_ms
        return snapshot.cluster_ms - self._since_ms
