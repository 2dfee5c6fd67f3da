"""The offsets from which a job starts whose state is abandoned because it can't be read."""

from __future__ import annotations

from collections.abc import Iterable

from sluice.ledger.tables import Placement
from sluice.ledger.values import StopMode
from sluice.project import Project
from sluice.state.offsets import by_topic, offsets_by_partition


def is_state_given_up(place: Placement) -> bool:
    """Whether the job is stopped by a cancel, and its state not read afterwards."""
    return place.stop_mode == StopMode.CANCEL and place.carried_over and place.state_path is None


def last_positions(project: Project, place: Placement, topics: Iterable[str]) -> dict[str, dict[str, int]]:
    """By topic and partition, the largest offset up to which the job is known to have read.

    That is the committed offset of its group, from its newest checkpoint, or the offset from which it was started, if
    that is larger. A partition with neither is left out: the job starts there as the topic declares.

    Args:
        project: The project.
        place: The job's placement.
        topics: The topics that it reads.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    read, brokers = sorted(topics), project.brokers
    partitions = brokers.offsets(brokers.describe(read))
    committed = brokers.committed(project.group(place.job), partitions) if partitions else {}
    began = offsets_by_partition(place.positions or {}, read)
    return by_topic(
        {at: max(known[at] for known in (committed, began) if at in known) for at in committed.keys() | began.keys()}
    )
