"""Proof that a job makes progress: what waited at its start is read and covered by a checkpoint. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sluice.flink.models import JobState
from sluice.health.snapshot import Snapshot, SplitReading
from sluice.health.words import clock, named
from sluice.kafka.offsets import Partition

_BACKLOG_MS = 30_000
"""What is not read so long after the first of it is a backlog: that some of it was read is proof enough."""
_METRICS_MS = 15_000
"""How long after a restart positions may still be those of the tasks before it: the cluster fetches them every 10 s."""
_SETTLED_MS = 600_000
"""A checkpoint that began so long after the tasks were deployed covers what waited for them: they may take minutes to
initialize, in which nothing is read."""


class Proof:
    """What is known so far of a job that was started; each snapshot of it adds to that.

    A restart takes it all back: what waited must be read by the tasks that run, and covered by a checkpoint of theirs.

    Args:
        ends: Where each partition ended for its readers when the watch began; records before it waited.
        started_at: Where the job was started; without, where it stands in the first snapshot counts.
    """

    def __init__(self, ends: Mapping[Partition, int], started_at: Mapping[Partition, int] | None = None) -> None:
        self._ends = ends
        self._given = dict(started_at or {})
        self._started_at = dict(self._given)
        self._began_ms: int | None = None
        self._running_ms = 0
        self._moved_ms: int | None = None
        self._read_ms: int | None = None

    def missing(self, snapshot: Snapshot) -> str | None:
        """What is not proven yet, one line; None: it is."""
        if snapshot.state is not JobState.RUNNING or snapshot.tasks_running < snapshot.tasks_total:
            return "not all tasks run"
        if snapshot.began_ms != self._began_ms:
            self._began_ms, self._moved_ms, self._read_ms = snapshot.began_ms, None, None
            self._running_ms = snapshot.cluster_ms
        if self._has_settled(snapshot):
            return None
        if self._read_ms is None and (words := self._unread(snapshot)):
            return words
        return self._uncovered(snapshot)

    def _has_settled(self, snapshot: Snapshot) -> bool:
        """Its tasks have run for long, completed a checkpoint late in that time, and stand nowhere where they began."""
        triggered, splits = snapshot.checkpoints.triggered_ms, snapshot.splits
        if triggered is None or splits is None or triggered - snapshot.began_ms <= _SETTLED_MS:
            return False
        return not any(
            split.lag != 0 and (split.following or 0) <= self._given.get(partition, -1) < self._ends.get(partition, 0)
            for partition, split in splits.items()
        )

    def _unread(self, snapshot: Snapshot) -> str | None:
        """What has not been read of what waited."""
        splits = snapshot.splits
        if splits is None:
            return "where it stands in its topics is not known yet"
        # From when all of them run: until then the metrics are still those of the tasks before.
        if snapshot.has_restarted and snapshot.cluster_ms - self._running_ms < _METRICS_MS:
            return f"its tasks began anew at {clock(snapshot.began_ms)}: what they have read is not known yet"
        waiting = {p: split for p, split in splits.items() if p in self._ends and p[0] not in snapshot.unread}
        if unknown := [partition for partition, split in waiting.items() if split.following is None]:
            return f"where it stands in {named(unknown)} is not known yet"
        return self._left(waiting, snapshot.cluster_ms)

    def _left(self, waiting: Mapping[Partition, SplitReading], now_ms: int) -> str | None:
        left = []
        for partition, split in waiting.items():
            self._started_at.setdefault(partition, split.following or 0)
            if split.lag != 0 and (split.following or 0) < self._ends[partition]:
                left.append(partition)
        if still := [p for p in left if waiting[p].is_guessed or (waiting[p].following or 0) <= self._started_at[p]]:
            return f"of {named(still)} nothing that waits has been read"
        if left and self._moved_ms is None:
            self._moved_ms = now_ms
        if left and now_ms - (self._moved_ms or 0) <= _BACKLOG_MS:
            return f"of {named(left)} not all that waited has been read"
        # Of a backlog the first records are to be covered.
        self._read_ms = self._moved_ms if left else now_ms
        return None

    def _uncovered(self, snapshot: Snapshot) -> str | None:
        began = snapshot.checkpoints.triggered_ms
        if began is None:
            return "no checkpoint yet"
        # Where nothing waited and nothing was read, any checkpoint of these tasks will do.
        after = (self._read_ms or 0) if self._has_read(snapshot) else snapshot.began_ms
        return None if began > after else "no checkpoint yet that covers what was read"

    def _has_read(self, snapshot: Snapshot) -> bool:
        """Whether its tasks have read anything; where that isn't known, they may have."""
        # The counter of records may be older than the positions.
        moved = any(
            split.following is not None and not split.is_guessed and split.following != self._given.get(partition)
            for partition, split in (snapshot.splits or {}).items()
        )
        return moved or snapshot.counters.records_in != 0
