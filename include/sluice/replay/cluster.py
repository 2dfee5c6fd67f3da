"""The Flink jobs of replays on their cluster."""

from __future__ import annotations

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import has_ended, job_state
from sluice.flink.models import JobState
from sluice.release.ledger import Ledger


def alive_jobs(flink: FlinkClient) -> frozenset[str]:
    """The Flink jobs of a cluster that have not ended."""
    return frozenset(job.id for job in flink.send(calls.jobs()).jobs if not job.state.is_terminal)


def has_room(ledger: Ledger, flink: FlinkClient, parallelism: int) -> bool:
    """Whether the cluster has task slots for a chunk that nobody is about to need.

    Those that a job leaves while another release takes its place are spoken for; a chunk that waited for slots in the
    cluster would get them, and the job none.
    """
    if any(place.phase in ("stopping", "stopped") for place, _ in ledger.placements().values()):
        return False
    return flink.send(calls.overview()).slots_available >= parallelism


def is_there(flink: FlinkClient, flink_job_id: str) -> bool:
    """Whether the cluster has a Flink job of that id that has not ended in failure; one that has finished counts."""
    state = job_state(flink, flink_job_id)
    return state is JobState.FINISHED or not has_ended(state)
