"""The Flink jobs of replays on their cluster."""

from __future__ import annotations

import time
from dataclasses import dataclass

from sluice.errors import UnreachableError
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
        reserved: Those that are spoken for: by jobs which another release is just taking the place of, or which a
            redeploy has left stopped, and by other chunks, where those were asked for.
    """

    available: int
    reserved: int

    @property
    def free(self) -> int:
        """What is left for chunks."""
        return max(0, self.available - self.reserved)


def room(ledger: Ledger, flink: FlinkClient, others: int = 0) -> Room:
    """The task slots that a cluster has for chunks now.

    Args:
        ledger: The ledger.
        flink: The cluster.
        others: Those that other chunks will take in a moment.
    """
    moving = ledger.placements(phases=("stopping", "stopped"))
    reserved = sum(int(release.resolved.get("parallelism") or 1) for _, release in moving.values())
    return Room(flink.send(calls.overview()).slots_available, reserved + others)


class Patience:
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
