"""The Flink jobs of replays on their cluster."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import has_ended, job_state
from sluice.flink.models import JobState
from sluice.release.ledger import Ledger


def alive_jobs(flink: FlinkClient) -> frozenset[str]:
    """The Flink jobs of a cluster that have not ended."""
    return frozenset(job.id for job in flink.send(calls.jobs()).jobs if not job.state.is_terminal)


@dataclass(frozen=True)
class Room:
    """The task slots that a cluster has for chunks.

    Attributes:
        available: Those that nobody has.
        reserved: Those that jobs will need which another release is just taking the place of, or which a redeploy has
            left stopped; a chunk that took them would leave such a job without.
    """

    available: int
    reserved: int

    @property
    def free(self) -> int:
        """What is left for chunks."""
        return max(0, self.available - self.reserved)


def room(ledger: Ledger, flink: FlinkClient) -> Room:
    """The task slots that a cluster has for chunks now."""
    reserved = sum(
        int(release.resolved.get("parallelism") or 1)
        for place, release in ledger.placements().values()
        if place.phase in ("stopping", "stopped")
    )
    return Room(flink.send(calls.overview()).slots_available, reserved)


def is_there(flink: FlinkClient, flink_job_id: str) -> bool:
    """Whether the cluster has a Flink job of that id that has not ended in failure; one that has finished counts."""
    state = job_state(flink, flink_job_id)
    return state is JobState.FINISHED or not has_ended(state)
