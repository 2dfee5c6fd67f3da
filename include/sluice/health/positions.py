"""Where a job stands in its topics, from what its readers and the broker say. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace

from sluice.health.snapshot import Snapshot, SplitReading
from sluice.kafka.offsets import Offsets, Partition

_NO_WATERMARK = -(2**63)
_SMALL_LAG = 1_000
"""Records. So few are read within moments: a second look need not be waited for."""
_FRESH_MS = 30_000


def next_offsets(
    positions: Mapping[Partition, int], offsets: Mapping[Partition, Offsets], earlier: Mapping[Partition, int]
) -> dict[Partition, int]:
    """The offset that the job reads next, of each partition where that is known.

    Args:
        positions: Offset of the last record read; negative: none since the task started.
        offsets: What the broker holds.
        earlier: For those that have read none, the next offset as it was known before.
    """
    following = {}
    for partition, position in positions.items():
        if held := offsets.get(partition):
            after = position + 1 if position >= 0 else earlier.get(partition, held.start)
            following[partition] = max(after, held.start)
    return following


def silent(positions: Mapping[Partition, int]) -> frozenset[Partition]:
    """Partitions of which nothing was read since the task started: their readers don't tell where they stand."""
    return frozenset(partition for partition, position in positions.items() if position < 0)


def read_splits(
    watermarks: Mapping[Partition, int],
    offsets: Mapping[Partition, Offsets],
    following: Mapping[Partition, int],
    idle: Mapping[Partition, bool] | None = None,
    guessed: frozenset[Partition] = frozenset(),
) -> dict[Partition, SplitReading]:
    """What is known of each partition."""
    splits = {}
    for partition, held in offsets.items():
        after, mark = following.get(partition), watermarks.get(partition, _NO_WATERMARK)
        splits[partition] = SplitReading(
            lag=None if after is None else max(0, held.end - after),
            watermark_ms=mark if mark > _NO_WATERMARK else None,
            following=after,
            end=held.end,
            is_guessed=partition in guessed,
            is_idle=(idle or {}).get(partition),
        )
    return splits


def known_ends(splits: Mapping[Partition, SplitReading], former: Snapshot | None) -> frozenset[Partition]:
    """Splits that were found to be read to their ends before, and neither they nor their ends have moved since."""
    before = (former.splits if former else None) or {}
    return frozenset(
        partition
        for partition, split in splits.items()
        if (known := before.get(partition))
        and known.lag == 0
        and split.following is not None
        and (known.following, known.end) == (split.following, split.end)
    )


def doubtful(splits: Mapping[Partition, SplitReading], now: int, former: Snapshot | None) -> dict[Partition, int]:
    """The next offset of those splits that seem to be behind, and perhaps are at their end.

    Args:
        splits: Of a job.
        now: Epoch milliseconds.
        former: An earlier snapshot of the same Flink job; None: there is none.
    """
    before = (former.splits if former else None) or {}
    return {
        partition: split.following
        for partition, split in splits.items()
        if split.following is not None and is_doubtful(split, now, before.get(partition))
    }


def is_doubtful(split: SplitReading, now: int, before: SplitReading | None) -> bool:
    """It is behind and not moving, which is what the end of a transaction looks like.

    Each transaction leaves a marker behind its records, with an offset that no consumer ever gets, and an aborted one
    its records as well, however many. Where the watermark is fresh, or much is to be read and was not seen to stand
    still, there is no need to look closer.
    """
    if not split.lag:
        return False
    if split.lag > _SMALL_LAG and (before is None or before.following != split.following):
        return False
    return split.watermark_ms is None or now - split.watermark_ms > _FRESH_MS


def at_their_ends(
    splits: Mapping[Partition, SplitReading], ended: Iterable[Partition]
) -> dict[Partition, SplitReading]:
    """The splits, those with nothing left to read without a lag."""
    gone = frozenset(ended)
    return {partition: replace(split, lag=0) if partition in gone else split for partition, split in splits.items()}
