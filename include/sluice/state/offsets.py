"""Whether the topics still hold what a job would read next. Pure.

Flink does not ask: a position that the broker no longer has, or doesn't have yet, is silently replaced by the topic's
first or last offset (`auto.offset.reset`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from sluice.kafka.offsets import Offsets, Partition

NO_LONGER_HELD = "Kafka no longer holds all that was not read yet: "
"""How the reason begins that says how many offsets are gone, in all and of each partition."""


@dataclass(frozen=True)
class Continuity:
    """Positions against what the broker holds.

    Attributes:
        gone: Partitions that begin behind the position, with the number of records (and markers) between.
        beyond: Partitions that end before the position, or don't exist: the topic was made anew.
    """

    gone: Mapping[Partition, int]
    beyond: tuple[Partition, ...]

    @property
    def words_of_gone(self) -> str | None:
        """For a person; None: nothing is gone."""
        if not self.gone:
            return None
        each = ", ".join(f"{topic}-{number}: {count:,}" for (topic, number), count in sorted(self.gone.items()))
        return f"{NO_LONGER_HELD}{sum(self.gone.values()):,} offsets are gone ({each})"


def topics_of(resolved: Mapping[str, Any]) -> frozenset[str]:
    """The topics that a release reads, from its resolved values."""
    return frozenset(read["topic"] for read in resolved["reads"].values())


def topics_from_latest(resolved: Mapping[str, Any]) -> frozenset[str]:
    """The topics of which a release without state reads only what is still to come, from its resolved values."""
    reads = resolved["reads"].values()
    return frozenset(read["topic"] for read in reads if read.get("start") == "latest") - {
        read["topic"] for read in reads if read.get("start") != "latest"
    }


def offsets_by_partition(positions: Mapping[str, Mapping[Any, int]], topics: Iterable[str]) -> dict[Partition, int]:
    """The positions in these topics as one mapping, without those of splits that have read nothing yet.

    Flink keeps a negative number for a split that begins at the topic's first or last offset.
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
    """Offsets as the ledger keeps them: per topic, then per partition, whose numbers are text in JSON."""
    found: dict[str, dict[str, int]] = {}
    for (topic, number), offset in sorted(offsets.items()):
        found.setdefault(topic, {})[str(number)] = offset
    return found


def hold_against(positions: Mapping[Partition, int], held: Mapping[Partition, Offsets]) -> Continuity:
    """Compare.

    Args:
        positions: The next offset to be read, by partition.
        held: What the broker holds of all partitions of these topics.
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
