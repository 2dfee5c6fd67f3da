"""Task slots for the chunks of a replay, and the Flink jobs of replays on their cluster."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace

from sluice.errors import UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import has_ended, job_state
from sluice.flink.models import JobState, JobSummary
from sluice.ledger.chunk_scheduling import ChunkLimits, Turn
from sluice.ledger.ledger import Ledger


@dataclass(frozen=True)
class SlotAvailability:
    """The task slots that a cluster has for chunks.

    Attributes:
        available: Those that nobody has.
        claims: Those that are spoken for, by whom: live jobs that don't run with all their tasks, because another
            release takes their place, or because they are being restarted, or have to be.
        alive: The Flink jobs that have not ended.
    """

    available: int
    claims: Mapping[str, int]
    alive: frozenset[str] = frozenset()

    @property
    def free(self) -> int:
        """What is left for chunks."""
        return max(0, self.available - sum(self.claims.values()))

    @property
    def words(self) -> str:
        """The figures, for a person."""
        claims = ", ".join(f"{slots} for {job}" for job, slots in sorted(self.claims.items()))
        return f"{self.available} are free" + (f", and spoken for: {claims}" if claims else "")

    def beside(self, others: int) -> SlotAvailability:
        """Without those that other chunks will take in a moment."""
        return replace(self, claims={**self.claims, "other chunks": others}) if others else self


def room(ledger: Ledger, flink: FlinkClient) -> SlotAvailability:
    """The task slots that a cluster has for chunks now."""
    jobs = {job.id: job for job in flink.send(calls.jobs()).jobs}
    claims = {}
    for job, (place, release) in ledger.placements().items():
        found = jobs.get(place.flink_job_id)
        if place.phase == "suspended" or (place.phase == "running" and found is not None and _has_its_slots(found)):
            continue
        claims[job] = int(release.resolved.get("parallelism") or 1)
    alive = frozenset(job.id for job in jobs.values() if not job.state.is_terminal)
    return SlotAvailability(flink.send(calls.overview()).slots_available, claims, alive)


def _has_its_slots(job: JobSummary) -> bool:
    """One that has come to its end needs none."""
    return job.state is JobState.FINISHED or (job.state is JobState.RUNNING and job.tasks.are_up)


def why_it_waits(name: str, needed: int, turn: Turn, limits: ChunkLimits, found: SlotAvailability) -> str:
    """What a chunk waits for, for a person, with figures.

    Args:
        name: The chunk's.
        needed: Task slots that it takes.
        turn: Where it stands.
        limits: Of how many chunks may run.
        found: The cluster's task slots.
    """
    if turn.taker is not None:
        return f"{name} waits: {turn.taker} has taken it, and starts it or has just submitted it"
    return (
        f"{name} waits for its turn: it takes {needed} task slots, {found.words}; other chunks that run or are being "
        f"started: {turn.busy_here} of {limits.replay} in this replay, {turn.busy} of {limits.job} in all of the job's"
    )


class OutageTimeout:
    """With a cluster or brokers that are asked again and again.

    Args:
        seconds: How long they may leave us without an answer.
    """

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._silent_since: float | None = None

    def answered(self) -> None:
        """There was an answer."""
        self._silent_since = None

    def endure(self, error: UnreachableError) -> None:
        """There was none.

        Raises:
            UnreachableError: this one; it has lasted too long.
        """
        self._silent_since = self._silent_since or time.monotonic()
        if time.monotonic() - self._silent_since > self._seconds:
            raise error


def is_there(flink: FlinkClient, flink_job_id: str) -> bool:
    """Whether the cluster has a Flink job of that id that has not ended in failure; one that has finished counts."""
    state = job_state(flink, flink_job_id)
    return state is JobState.FINISHED or not has_ended(state)
