"""Whether the topics still have the records that a job would read next. Pure.

Flink doesn't check this: it silently replaces a position outside of the topic's offsets by the first or last one
(`auto.offset.reset`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sluice.kafka.offsets import Offsets, Partition

NO_LONGER_HELD = "Kafka has deleted records that the job has not read yet: "
"""The start of the reason with the number of deleted offsets, in total and for each partition."""


@dataclass(frozen=True)
class Continuity:
    """A comparison of positions with the broker's offsets.

    Attributes:
        gone: Partitions whose first offset is after the position, with the number of offsets between the two.
        beyond: Partitions that end before the position, or don't exist: the topic was deleted and created again.
    """

    gone: Mapping[Partition, int]
    beyond: tuple[Partition, ...]

    @property
    def words_of_gone(self) -> str | None:
        """The deleted offsets, for a person; None: there are none."""
        if not self.gone:
            return None
        each = ", ".join(f"{topic}-{number}: {count:,}" for (topic, number), count in sorted(self.gone.items()))
        return f"{NO_LONGER_HELD}{sum(self.gone.values()):,} offsets are missing ({each})"


def topics_of(resolved: Mapping[str, Any]) -> frozenset[str]:
    """The topics that a release reads, from its resolved values."""
    return frozenset(read["topic"] for read in resolved["reads"].values())


def topics_from_latest(resolved: Mapping[str, Any]) -> frozenset[str]:
    """The topics of which a release without state reads only new records, from its resolved values."""
    reads = resolved["reads"].values()
    return frozenset(read["topic"] for read in reads if read.get("start") == "latest") - {
        read["topic"] for read in reads if read.get("start") != "latest"
    }


def offsets_by_partition(positions: Mapping[str, Mapping[Any, int]], topics: Iterable[str]) -> dict[Partition, int]:
    """The positions in these topics as one mapping, without those of splits that have read no record yet.

    Flink stores a negative number for a split that begins at the topic's first or last offset.
    """
    wanted = frozenset(topics)
    return {
        (topic, int(number)): int(offset)
        for topic, partitions in positions.items()
        if topic in wanted
        for number, offset in partitions.items()
        if int(offset) >= 0
    }


def by_topic(offsets: Mapping[Partition, int]) -> dict[str, dict[str, int]]:
    """Offsets as the ledger stores them: by topic, then by partition, whose numbers are text in JSON."""
    found: dict[str, dict[str, int]] = {}
    for (topic, number), offset in sorted(offsets.items()):
        found.setdefault(topic, {})[str(number)] = offset
    return found


def check_offsets(positions: Mapping[Partition, int], held: Mapping[Partition, Offsets]) -> Continuity:
    """Compare positions with the broker's offsets.

    Args:
        positions: The next offset to read, by partition.
        held: The broker's offsets of all partitions of these topics.
    """
    known = {partition: (held[partition], position) for partition, position in positions.items() if partition in held}
    return Continuity(
        gone={
            partition: offsets.start - position
            for partition, (offsets, position) in known.items()
            if offsets.start > position
        },
        beyond=tuple(
            sorted(
                partition
                for partition, position in positions.items()
                if partition not in held or held[partition].end < position
            )
        ),
    )
