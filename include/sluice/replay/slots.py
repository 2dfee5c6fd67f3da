"""Task slots for the chunks of replays: how many are free, and what a chunk waits for."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from sluice.clock import Clock
from sluice.errors import UnreachableError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import has_ended, job_state
from sluice.flink.models import JobState, JobSummary
from sluice.ledger.chunk_scheduling import ChunkLimits, QueuePosition
from sluice.ledger.ledger import Ledger
from sluice.ledger.values import Phase


@dataclass(frozen=True)
class SlotAvailability:
    """The task slots that a cluster has for chunks.

    Attributes:
        available: Slots that no task occupies.
        claims: Slots reserved for live jobs, by job: a job that doesn't run with all its tasks, since a new release
            replaces it or it restarts, gets its slots before any chunk.
        alive: The Flink jobs that have not ended.
    """

    available: int
    claims: Mapping[str, int]
    alive: frozenset[str] = frozenset()

    @property
    def free(self) -> int:
        """Slots that chunks may take."""
        return max(0, self.available - sum(self.claims.values()))

    def describe(self) -> str:
        """The figures as text."""
        claims = ", ".join(f"{slots} for {job}" for job, slots in sorted(self.claims.items()))
        return f"{self.available} are free" + (f", of which reserved: {claims}" if claims else "")

    def without(self, pending: int) -> SlotAvailability:
        """Without the slots that other chunks, submitted but not deployed yet, are about to take."""
        return replace(self, claims={**self.claims, "other chunks": pending}) if pending else self


def read_slot_availability(ledger: Ledger, flink: FlinkClient) -> SlotAvailability:
    """The task slots that the cluster has for chunks now.

    Raises:
        UnreachableError: the cluster doesn't answer.
    """
    jobs = {job.id: job for job in flink.send(calls.jobs()).jobs}
    claims = {}
    for job, (place, release) in ledger.placements().items():
        found = jobs.get(place.flink_job_id)
        if place.phase == Phase.SUSPENDED or (
            place.phase == Phase.RUNNING and found is not None and _has_its_slots(found)
        ):
            continue
        claims[job] = int(release.resolved.get("parallelism") or 1)
    alive = frozenset(job.id for job in jobs.values() if not job.state.is_terminal)
    return SlotAvailability(flink.send(calls.overview()).slots_available, claims, alive)


def _has_its_slots(job: JobSummary) -> bool:
    """Whether a live job needs no slots beyond those that it occupies; a finished job needs none."""
    return job.state is JobState.FINISHED or (job.state is JobState.RUNNING and job.tasks.are_up)


def describe_wait(name: str, needed: int, position: QueuePosition, limits: ChunkLimits, slots: SlotAvailability) -> str:
    """What a chunk waits for, as text with figures.

    Args:
        name: The chunk's name.
        needed: Task slots that it takes.
        position: Which chunks run or are started before it.
        limits: How many chunks may run at the same time.
        slots: The cluster's task slots.
    """
    if position.taker is not None:
        return f"{name} waits: {position.taker} has claimed it, and compiles it or has just submitted it"
    return (
        f"{name} is queued: it takes {needed} task slots, {slots.describe()}; other chunks that run or start: "
        f"{position.busy_here} of {limits.replay} in this replay, {position.busy} of {limits.job} in all of the job's"
    )


class OutageTimeout:
    """How long a caller that polls a cluster or brokers tolerates an outage.

    Args:
        seconds: The longest tolerated time without an answer.
        clock: The clock.
    """

    def __init__(self, seconds: float, clock: Clock) -> None:
        self._seconds = seconds
        self._clock = clock
        self._silent_since: float | None = None

    def answered(self) -> None:
        """Record an answer: the next outage starts anew."""
        self._silent_since = None

    def failed(self, error: UnreachableError) -> None:
        """Record a request without an answer.

        Args:
            error: Its error.

        Raises:
            UnreachableError: `error`, once the outage has lasted longer than the timeout.
        """
        self._silent_since = self._silent_since or self._clock.monotonic()
        if self._clock.monotonic() - self._silent_since > self._seconds:
            raise error


def exists(flink: FlinkClient, flink_job_id: str) -> bool:
    """Whether the cluster has this Flink job and it hasn't failed or been cancelled; a finished one counts."""
    state = job_state(flink, flink_job_id)
    return state is JobState.FINISHED or not has_ended(state)
