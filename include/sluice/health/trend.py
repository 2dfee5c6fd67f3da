"""The changes between two snapshots of a job. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sluice.health.snapshot import WINDOW_MS, Counters, Load, Snapshot, SplitReading, Trend, Work
from sluice.health.tally import Tally
from sluice.kafka.offsets import Partition

_MIN_ELAPSED_MS = 5_000
"""Flink fetches metrics every 10 s (`metrics.fetcher.update-interval`): over a shorter time a rate means nothing."""
_STALE_MS = 30_000
"""A working cluster fetches its metrics more often than this."""


def compare(snapshot: Snapshot, previous: Snapshot | None) -> Snapshot:
    """The snapshot with its trend, and since when each split has not moved.

    Args:
        snapshot: The new snapshot.
        previous: An earlier one of the same job; None, or one of another Flink job: there is nothing to compare.
    """
    if previous is None or previous.flink_job_id != snapshot.flink_job_id or previous.at_ms >= snapshot.at_ms:
        return snapshot
    elapsed = snapshot.at_ms - previous.at_ms
    is_stale = _is_stale(snapshot, previous, elapsed)
    splits = snapshot.splits
    if splits and not is_stale:
        splits = {partition: _with_stall_start(partition, split, previous) for partition, split in splits.items()}
    trend = Trend(since_ms=previous.at_ms, is_stale=is_stale)
    if elapsed >= _MIN_ELAPSED_MS and not is_stale:
        trend = _rates(snapshot, previous, trend, elapsed / 1000)
    return replace(snapshot, splits=splits, trend=trend, past=_comparable_tallies(snapshot, previous))


def _comparable_tallies(snapshot: Snapshot, previous: Snapshot) -> tuple[Tally, ...]:
    """The earlier counters that the snapshot's can be compared with: of the same tasks, and of the last ten minutes."""
    now, newest = snapshot.tally, previous.tally
    if now is None:
        # Without new counters, keep the earlier ones for the next snapshot.
        return previous.past
    if newest is None or snapshot.began_ms != previous.began_ms or not newest.is_before(now):
        # The counters of restarted tasks begin at zero.
        return ()
    apart = not previous.past or newest.at_ms - previous.past[-1].at_ms >= _MIN_ELAPSED_MS
    kept = (*previous.past, newest) if apart else previous.past
    recent = [each for each in kept if each.at_ms > now.at_ms - WINDOW_MS]
    # One older tally is kept, so that the whole window can be compared.
    return tuple(kept[-len(recent) - 1 :])


def choose_previous(earlier: Sequence[Snapshot], now_ms: int) -> Snapshot | None:
    """Of snapshots of a job, oldest first, the newest that is old enough to compare with, or else the oldest."""
    enough = [snapshot for snapshot in earlier if now_ms - snapshot.at_ms >= 2 * _MIN_ELAPSED_MS]
    return enough[-1] if enough else next(iter(earlier), None)


def _rates(snapshot: Snapshot, previous: Snapshot, trend: Trend, seconds: float) -> Trend:
    lag, before = snapshot.consumer_lag, previous.consumer_lag
    # The counters of restarted tasks begin at zero.
    is_same_run = snapshot.restarts == previous.restarts and snapshot.restarts is not None

    def rate(of: Callable[[Counters], int | None], per: float) -> float | None:
        now, then = of(snapshot.counters), of(previous.counters)
        return (
            (now - then) * per / seconds
            if is_same_run and now is not None and then is not None and now >= then
            else None
        )

    counts_reads = snapshot.tally is not None and bool(snapshot.tally.reads)
    return replace(
        trend,
        arrived=_arrived(snapshot, previous),
        lag_per_s=None if lag is None or before is None else (lag - before) / seconds,
        records_in_per_s=rate(lambda counters: counters.records_in, 1),
        records_out_per_s=rate(lambda counters: counters.records_out, 1),
        dead_letters_per_min=rate(lambda counters: counters.dead_letters, 60),
        # Windows don't count malformed records.
        malformed_per_s=_tally_rate(snapshot, previous, lambda tally: tally.malformed) if counts_reads else None,
        late_per_s=_tally_rate(snapshot, previous, lambda tally: tally.late),
        loads=tuple(_loads(snapshot.work, previous.work, seconds * 1000)) if is_same_run else (),
    )


def _arrived(snapshot: Snapshot, previous: Snapshot) -> int | None:
    now, then = snapshot.splits or {}, previous.splits or {}
    moved = [
        split.end - before.end
        for partition, split in now.items()
        if split.end is not None and (before := then.get(partition)) and before.end is not None
    ]
    return sum(moved) if now and len(moved) == len(now) else None


def _tally_rate(snapshot: Snapshot, previous: Snapshot, of: Callable[[Tally], int]) -> float | None:
    now, then = snapshot.tally, previous.tally
    if now is None or then is None or snapshot.began_ms != previous.began_ms:
        return None
    if not then.is_before(now) or now.at_ms <= then.at_ms:
        return None
    return (of(now) - of(then)) * 1000 / (now.at_ms - then.at_ms)


def _loads(now: Iterable[Work], then: Iterable[Work], elapsed_ms: float) -> Iterable[Load]:
    before = {work.name: work for work in then}
    for work in now:
        old = before.get(work.name)
        if old is None or old.parallelism != work.parallelism or work.total_ms < old.total_ms:
            continue
        whole = elapsed_ms * work.parallelism
        busy, waited = work.busy_ms - old.busy_ms, work.backpressured_ms - old.backpressured_ms
        yield Load(work.name, busy=_share(busy, whole), backpressured=_share(waited, whole))


def _share(part: float, whole: float) -> float:
    return min(1.0, max(0.0, part / whole))


def _is_stale(snapshot: Snapshot, previous: Snapshot, elapsed_ms: int) -> bool:
    """The time that tasks spend grows whatever they do: if it hasn't grown, Flink has fetched no metrics."""
    if elapsed_ms < _STALE_MS or not snapshot.work or snapshot.tasks_running < snapshot.tasks_total:
        return False
    return [work.total_ms for work in snapshot.work] == [work.total_ms for work in previous.work]


def _with_stall_start(partition: Partition, split: SplitReading, previous: Snapshot) -> SplitReading:
    """The split with since when its position hasn't moved, if it had records to read all that time."""
    before = (previous.splits or {}).get(partition)
    if before is None or not split.lag or not before.lag or split.next_offset is None:
        return split
    if (split.next_offset, split.watermark_ms) != (before.next_offset, before.watermark_ms):
        return split
    return replace(split, stalled_since_ms=before.stalled_since_ms or previous.at_ms)
