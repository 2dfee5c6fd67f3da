"""The progress of a chunk's Flink job: its state and the records that it has read."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from sluice.errors import JobNotFoundError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.models import JobState
from sluice.project import Project
from sluice.replay.slots import OutageTimeout

_PAUSE = 1.0
"""Seconds between two requests."""
_CACHED = 5
"""Requests after which the cluster's cached figures of an ended job include its last records."""
_OUTAGE_TIMEOUT = 60.0
"""Seconds."""


@dataclass(frozen=True)
class ChunkProgress:
    """The progress of a chunk.

    Attributes:
        state: The state of its Flink job; None: the cluster doesn't know the job.
        records: How many records it has read; None: not known yet.
        failure: Why the job failed, in Flink's words; empty otherwise.
    """

    state: JobState | None
    records: int | None = None
    failure: str = ""

    @property
    def is_over(self) -> bool:
        """Whether this attempt has ended, in whatever way."""
        return self.state is None or self.state.is_terminal

    def seconds_left(self, total: int, elapsed: float) -> float | None:
        """The expected remaining seconds at the speed so far; None: nothing has been read yet.

        Args:
            total: How many records the chunk reads, at most.
            elapsed: Seconds since it began.
        """
        return elapsed * max(0, total - self.records) / self.records if self.records else None

    def describe(self, total: int, elapsed: float) -> str:
        """The progress as text; the arguments are those of `seconds_left`."""
        records, left = self.records or 0, self.seconds_left(total, elapsed)
        rest = "" if left is None else f", about {left:,.0f} s left"
        return f"{records:,} of {total:,} records ({records / max(1, total):.0%}){rest}"


async def watch_chunk(
    project: Project, flink_job_id: str, is_stopping: Callable[[], bool] = lambda: False
) -> AsyncGenerator[ChunkProgress]:
    """Yield a chunk's progress each second, until its Flink job has ended.

    Args:
        project: The project.
        flink_job_id: The chunk's Flink job.
        is_stopping: Whether to stop watching earlier.

    Raises:
        UnreachableError: the cluster has not answered for a minute; the job may still run.
    """
    async with project.connect_async() as client:
        outage = OutageTimeout(_OUTAGE_TIMEOUT, project.clock)
        while not is_stopping():
            try:
                yield (progress := await _read_progress(client, flink_job_id))
                outage.answered()
                if progress.is_over:
                    return
            except UnreachableError as error:
                outage.failed(error)
            await project.clock.pause(_PAUSE)


async def _read_progress(flink: AsyncFlinkClient, flink_job_id: str) -> ChunkProgress:
    try:
        state = (await flink.send(calls.status(flink_job_id))).status
        detail = await flink.send(calls.job(flink_job_id))
        for _ in range(_CACHED):
            if detail.state is state or not state.is_terminal:
                break
            # The cluster caches a job's details for some seconds, but not its state.
            await flink.clock.pause(_PAUSE)
            detail = await flink.send(calls.job(flink_job_id))
        failure = ""
        if state is JobState.FAILED:
            history = (await flink.send(calls.exceptions(flink_job_id))).history.entries
            failure = history[0].words if history else ""
    except JobNotFoundError:
        return ChunkProgress(None)
    records = sum(vertex.totals.read_records for vertex in detail.vertices if vertex.is_source)
    return ChunkProgress(state, records, failure)
