"""The operators of the release that wrote a job's state."""

from __future__ import annotations

from sluice.client.protocol import Graph
from sluice.errors import FlinkError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.ledger.checkpoint_origin import origin
from sluice.ledger.ledger import Ledger
from sluice.ledger.tables import Placement
from sluice.state.operators import Described, read_values
from sluice.state.running_operators import running_operators


def written_operators(
    ledger: Ledger, flink: FlinkClient, place: Placement, path: str | None, graph: Graph
) -> dict[str, Described]:
    """The operators of the release that wrote the state; empty: unknown.

    If that release doesn't store them, they are read from the cluster, as long as it knows the job.

    Args:
        ledger: The ledger.
        flink: The cluster.
        place: The job's placement.
        path: The state that would be taken over; None: a savepoint that isn't written yet. If the running release has
            made no checkpoint, this is the state of the release before it.
        graph: The graph that would take the state.

    Raises:
        UnreachableError: the cluster doesn't answer.
    """
    written_by = None if path is None or place.flink_job_id in path else origin(ledger, place.job, path)
    number = place.release if written_by is None else written_by
    kept = ledger.release(place.job, number).operators
    if kept:
        return read_values(kept)
    if number != place.release:
        return {}
    try:
        nodes = flink.send(calls.plan(place.flink_job_id)).plan.nodes
    except UnreachableError:
        raise
    except FlinkError:
        # The cluster no longer knows the job.
        return {}
    return running_operators(nodes, graph)
