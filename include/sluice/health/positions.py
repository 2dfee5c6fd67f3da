"""A job's positions in its topics, from what its source readers and the broker report. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sluice.health.snapshot import Snapshot, SplitReading
from sluice.kafka.offsets import Offsets, Partition

_NO_WATERMARK = -(2**63)
_SMALL_LAG = 1_000
"""In records. A running job reads a smaller lag within moments, so the broker is asked without a second snapshot."""
_FRESH_MS = 30_000


def next_offsets(
    positions: Mapping[Partition, int], offsets: Mapping[Partition, Offsets], earlier: Mapping[Partition, int]
) -> dict[Partition, int]:
    """The offset that the job reads next, of each partition where it is known.

    Args:
        positions: Offset of the last record read; negative: the task has read none since it started.
        offsets: The first and the end offset that the broker holds.
        earlier: The next offset as known before, for partitions that the task hasn't read yet.
    """
    next_by_partition = {}
    for partition, position in positions.items():
        if held := offsets.get(partition):
            after = position + 1 if position >= 0 else earlier.get(partition, held.start)
            next_by_partition[partition] = max(after, held.start)
    return next_by_partition


def without_reads(positions: Mapping[Partition, int]) -> frozenset[Partition]:
    """Partitions whose reader has read nothing since the task started, so that it reports no position."""
    return frozenset(partition for partition, position in positions.items() if position < 0)


def read_splits(
    watermarks: Mapping[Partition, int],
    offsets: Mapping[Partition, Offsets],
    next_by_partition: Mapping[Partition, int],
    idle: Mapping[Partition, bool] | None = None,
    guessed: frozenset[Partition] = frozenset(),
) -> dict[Partition, SplitReading]:
    """The reading of each partition."""
    splits = {}
    for partition, held in offsets.items():
        after, mark = next_by_partition.get(partition), watermarks.get(partition, _NO_WATERMARK)
        splits[partition] = SplitReading(
            lag=None if after is None else max(0, held.end - after),
            watermark_ms=mark if mark > _NO_WATERMARK else None,
            next_offset=after,
            end=held.end,
            is_guessed=partition in guessed,
            is_idle=(idle or {}).get(partition),
        )
    return splits


def known_ends(splits: Mapping[Partition, SplitReading], previous: Snapshot | None) -> frozenset[Partition]:
    """Splits that were found read to their end before, if neither the position nor the end has moved since."""
    before = (previous.splits if previous else None) or {}
    return frozenset(
        partition
        for partition, split in splits.items()
        if (known := before.get(partition))
        and known.lag == 0
        and split.next_offset is not None
        and (known.next_offset, known.end) == (split.next_offset, split.end)
    )


def possibly_at_end(
    splits: Mapping[Partition, SplitReading], now: int, previous: Snapshot | None
) -> dict[Partition, int]:
    """The next offsets of splits that have a lag and may have been read to their end all the same.

    Args:
        splits: Of a job.
        now: Epoch milliseconds.
        previous: An earlier snapshot of the same Flink job; None: there is none.
    """
    before = (previous.splits if previous else None) or {}
    return {
        partition: split.next_offset
        for partition, split in splits.items()
        if split.next_offset is not None and may_be_at_end(split, now, before.get(partition))
    }


def may_be_at_end(split: SplitReading, now: int, before: SplitReading | None) -> bool:
    """Whether a split's lag may consist of transaction markers and aborted records alone.

    Each transaction ends with a marker, whose offset no consumer receives; the records of an aborted transaction are
    not received either. A split with a recent watermark needs no check, nor one with a large lag unless its position
    has not moved since the previous snapshot.
    """
    if not split.lag:
        return False
    if split.lag > _SMALL_LAG and (before is None or before.next_offset != split.next_offset):
        return False
    return split.watermark_ms is None or now - split.watermark_ms > _FRESH_MS


def without_lag(splits: Mapping[Partition, SplitReading], ended: Iterable[Partition]) -> dict[Partition, SplitReading]:
    """The splits, with a lag of 0 where the partition was read to its end."""
    at_end = frozenset(ended)
    return {partition: replace(split, lag=0) if partition in at_end else split for partition, split in splits.items()}
