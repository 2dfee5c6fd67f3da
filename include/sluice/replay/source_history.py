"""The records that the brokers still hold of the topics that a replay reads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

from sluice.errors import RefusedError
from sluice.job.topic import Kafka
from sluice.kafka.history import Moments
from sluice.kafka.offsets import Offsets, Partition
from sluice.project import Project
from sluice.replay.model import HeldRange
from sluice.replay.ranges import ChunkRange, arrivals


class SourceHistory:
    """The offsets and arrival times of the records in a job's input topics, read once.

    Args:
        project: The project.
        reads: The topics, by the job's names for them.

    Raises:
        UnreachableError: the brokers don't answer.
    """

    def __init__(self, project: Project, reads: Mapping[str, Kafka]) -> None:
        self._clock = project.clock
        self._brokers = project.brokers
        self._reads = reads
        topics = {topic.topic for topic in reads.values()}
        self._offsets: dict[Partition, Offsets] = self._brokers.offsets(topics)
        self._moments: dict[Partition, Moments] = self._brokers.moments(self._offsets)

    def held(self) -> tuple[HeldRange, ...]:
        """The range that each partition holds, for the plan."""
        return tuple(
            HeldRange(topic=topic, partition=number, first=_datetime(moments.first), last=_datetime(moments.last))
            for (topic, number), moments in sorted(self._moments.items())
        )

    def refuse_incomplete(self, job: str, last: ChunkRange, reach: timedelta) -> None:
        """Refuse a range whose last records may still arrive: the replay would miss them.

        Raises:
            RefusedError: with the latest end that is allowed.
        """
        now = self._clock.now()
        complete = max((arrivals(topic, last, reach)[1] for topic in self._with_event_time()), default=last.until)
        if complete > now:
            latest = last.until - (complete - now)
            raise RefusedError(
                f"{job}: the range ends at {as_text(last.until)}; its last records may arrive until "
                f"{as_text(complete)}, and now it is {as_text(now)}",
                remedy=f"choose {as_text(latest)} or earlier as the end of the range",
            )

    def refuse_deleted(self, job: str, first: ChunkRange, reach: timedelta) -> None:
        """Refuse a range whose first records Kafka has deleted: its first rows would be computed from a part of them.

        Raises:
            RefusedError: with the earliest start that is allowed.
        """
        for topic in self._with_event_time():
            needed, _ = arrivals(topic, first, reach)
            for number, offsets in self._partitions(topic):
                start = _datetime(self._moments[topic.topic, number].first)
                # A partition that begins at offset 0 has never lost a record.
                if offsets.start > 0 and (start is None or start > needed):
                    held = f"records that arrived from {as_text(start)} on" if start else "none"
                    raise RefusedError(
                        f"{job}: {topic.topic}[{number}] has deleted its records before offset {offsets.start:,} and "
                        f"holds {held}; the range needs records that arrived since {as_text(needed)}",
                        remedy=f"{_later_start(first, start, needed)}accept missing records",
                    )

    def offsets(self, part: ChunkRange, reach: timedelta) -> dict[str, dict[int, tuple[int, int]]]:
        """The offsets that a chunk reads, by read and partition: the first one, and the end (exclusive)."""
        return {name: dict(self._bounds(topic, part, reach)) for name, topic in self._reads.items()}

    def _bounds(self, topic: Kafka, part: ChunkRange, reach: timedelta) -> Iterable[tuple[int, tuple[int, int]]]:
        first, last = arrivals(topic, part, reach)
        held = {(topic.topic, number): offsets for number, offsets in self._partitions(topic)}
        ends = self._brokers.offsets_at(held, last)
        starts = {place: offsets.start for place, offsets in held.items()}
        if topic.event_time:
            # Records without event time can't be assigned to a range: all that arrived before its end are read.
            starts = self._brokers.offsets_at(held, first)
        for place, end in ends.items():
            yield place[1], (min(starts[place], end), end)

    def _with_event_time(self) -> list[Kafka]:
        return [topic for topic in self._reads.values() if topic.event_time]

    def _partitions(self, topic: Kafka) -> list[tuple[int, Offsets]]:
        return [(number, offsets) for (name, number), offsets in self._offsets.items() if name == topic.topic]


def as_text(moment: datetime) -> str:
    """A moment in UTC, for messages."""
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def _later_start(first: ChunkRange, start: datetime | None, needed: datetime) -> str:
    return "" if start is None else f"begin at {as_text(first.since + (start - needed))} or later, or "


def _datetime(milliseconds: int | None) -> datetime | None:
    return None if milliseconds is None else datetime.fromtimestamp(milliseconds / 1000, UTC)
