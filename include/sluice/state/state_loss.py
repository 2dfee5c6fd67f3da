"""Where a job goes on whose state is given up: nobody can read the positions that it held."""

from __future__ import annotations

from collections.abc import Iterable

from confluent_kafka.admin import AdminClient

from sluice.kafka.offsets import read_committed, read_offsets
from sluice.kafka.topics import describe
from sluice.ledger.tables import Placement
from sluice.project import Project
from sluice.state.offsets import by_topic, offsets_by_partition


def is_state_given_up(place: Placement) -> bool:
    """Whether the job is cancelled, or to be, without anybody reading what it leaves."""
    return place.stop_mode == "cancel" and place.carried_over and place.state_path is None


def last_positions(
    project: Project, place: Placement, topics: Iterable[str], admin: AdminClient
) -> dict[str, dict[str, int]]:
    """Per topic and partition the furthest offset that is known to be behind the job.

    Its group's committed ones, as of its newest checkpoint, or what it was started from where that is further. A
    partition of which neither is known is left out: the job begins where the topic is declared to.

    Args:
        project: The project.
        place: Where the job stood.
        topics: What it reads.
        admin: The brokers.

    Raises:
        UnreachableError: the broker doesn't answer.
    """
    servers, read = project.kafka_servers, sorted(topics)
    partitions = read_offsets(admin, describe(admin, read, servers), servers)
    committed = read_committed(project.kafka, project.group(place.job), partitions) if partitions else {}
    began = offsets_by_partition(place.positions or {}, read)
    return by_topic(
        {at: max(known[at] for known in (committed, began) if at in known) for at in committed.keys() | began.keys()}
    )
