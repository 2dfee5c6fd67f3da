"""What has changed between two snapshots of a job. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from sluice.health.snapshot import WINDOW_MS, Counters, Load, Snapshot, SplitReading, Trend, Work
from sluice.health.tally import Tally
from sluice.kafka.offsets import Partition

_LEAST_MS = 5_000
"""Metrics are as old as the cluster's `metrics.fetcher.update-interval` (10 s): over less, a rate says nothing."""
_STALE_MS = 30_000
"""A cluster that works fetches its metrics more often than this."""


def compare(snapshot: Snapshot, former: Snapshot | None) -> Snapshot:
    """The snapshot with its trend, and since when each split stands still.

    Args:
        snapshot: Just read.
        former: Of the same job, earlier; None, or one of another Flink job: nothing can be compared.
    """
    if former is None or former.flink_job_id != snapshot.flink_job_id or former.at_ms >= snapshot.at_ms:
        return snapshot
    elapsed = snapshot.at_ms - former.at_ms
    is_stale = _is_stale(snapshot, former, elapsed)
    splits = snapshot.splits
    if splits and not is_stale:
        splits = {partition: _still(partition, split, former) for partition, split in splits.items()}
    trend = Trend(since_ms=former.at_ms, is_stale=is_stale)
    if elapsed >= _LEAST_MS and not is_stale:
        trend = _rates(snapshot, former, trend, elapsed / 1000)
    return replace(snapshot, splits=splits, trend=trend, past=_past(snapshot, former))


def _past(snapshot: Snapshot, former: Snapshot) -> tuple[Tally, ...]:
    """The earlier counters that the snapshot's can be compared with: of the same tasks, and not too old."""
    now, newest = snapshot.tally, former.tally
    if now is None:
        # Nothing was told this time: what came before is kept for the next one.
        return former.past
    if newest is None or snapshot.began_ms != former.began_ms or not newest.is_before(now):
        # Tasks that have begun again count from zero.
        return ()
    apart = not former.past or newest.at_ms - former.past[-1].at_ms >= _LEAST_MS
    kept = (*former.past, newest) if apart else former.past
    recent = [each for each in kept if each.at_ms > now.at_ms - WINDOW_MS]
    # One that is older shows what the whole window has brought.
    return tuple(kept[-len(recent) - 1 :])


def choose_former(earlier: Sequence[Snapshot], now_ms: int) -> Snapshot | None:
    """Of some snapshots of a job, oldest first, the newest that is old enough to compare with, or else the oldest."""
    enough = [snapshot for snapshot in earlier if now_ms - snapshot.at_ms >= 2 * _LEAST_MS]
    return enough[-1] if enough else next(iter(earlier), None)


def _rates(snapshot: Snapshot, former: Snapshot, trend: Trend, seconds: float) -> Trend:
    lag, before = snapshot.consumer_lag, former.consumer_lag
    # Tasks that have started again count from zero.
    goes_on = snapshot.restarts == former.restarts and snapshot.restarts is not None

    def rate(of: Callable[[Counters], int | None], per: float) -> float | None:
        now, then = of(snapshot.counters), of(former.counters)
        return (
            (now - then) * per / seconds if goes_on and now is not None and then is not None and now >= then else None
        )

    counts_reads = snapshot.tally is not None and bool(snapshot.tally.reads)
    return replace(
        trend,
        arrived=_arrived(snapshot, former),
        lag_per_s=None if lag is None or before is None else (lag - before) / seconds,
        records_in_per_s=rate(lambda counters: counters.records_in, 1),
        records_out_per_s=rate(lambda counters: counters.records_out, 1),
        dead_letters_per_min=rate(lambda counters: counters.dead_letters, 60),
        # Windows alone tell nothing of malformed records.
        malformed_per_s=_tally_rate(snapshot, former, lambda tally: tally.malformed) if counts_reads else None,
        late_per_s=_tally_rate(snapshot, former, lambda tally: tally.late),
        loads=tuple(_loads(snapshot.work, former.work, seconds * 1000)) if goes_on else (),
    )


def _arrived(snapshot: Snapshot, former: Snapshot) -> int | None:
    now, then = snapshot.splits or {}, former.splits or {}
    moved = [
        split.end - before.end
        for partition, split in now.items()
        if split.end is not None and (before := then.get(partition)) and before.end is not None
    ]
    return sum(moved) if now and len(moved) == len(now) else None


def _tally_rate(snapshot: Snapshot, former: Snapshot, of: Callable[[Tally], int]) -> float | None:
    now, then = snapshot.tally, former.tally
    if now is None or then is None or snapshot.began_ms != former.began_ms:
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


def _is_stale(snapshot: Snapshot, former: Snapshot, elapsed_ms: int) -> bool:
    """What tasks spend their time with grows whatever they do: where it doesn't, the cluster fetches no metrics."""
    if elapsed_ms < _STALE_MS or not snapshot.work or snapshot.tasks_running < snapshot.tasks_total:
        return False
    return [work.total_ms for work in snapshot.work] == [work.total_ms for work in former.work]


def _still(partition: Partition, split: SplitReading, former: Snapshot) -> SplitReading:
    """Since when it stands where it stands, if there was something to read at that moment already."""
    before = (former.splits or {}).get(partition)
    if before is None or not split.lag or not before.lag or split.following is None:
        return split
    if (split.following, split.watermark_ms) != (before.following, before.watermark_ms):
        return split
    return replace(split, still_since_ms=before.still_since_ms or former.at_ms)
