"""The triggers that wait for gates, savepoints and chunks of replays, without a worker slot."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.project_trigger import ProjectTrigger
from sluice.airflow.projects import ledger_of
from sluice.errors import JobNotFoundError, UnreachableError
from sluice.flink import calls
from sluice.ledger.chunk_scheduling import ChunkLimits, QueuePosition
from sluice.ledger.values import Outcome
from sluice.operation.gate import port_readings
from sluice.operation.gate_order import GateOrder
from sluice.operation.savepoint import await_savepoint
from sluice.project import Project
from sluice.replay.progress import ChunkProgress, watch_chunk
from sluice.replay.slots import OutageTimeout, SlotAvailability, describe_wait, read_slot_availability


class GateTrigger(ProjectTrigger):
    """Fires when a gate is passed, or can't be passed any more.

    Args:
        order: The values of a `sluice.operation.gate_order.GateOrder` with one gate.
        root, environment: The project; see `ProjectTrigger`.
    """

    def __init__(self, *, order: dict[str, Any], root: str | None = None, environment: str | None = None) -> None:
        super().__init__(root=root, environment=environment)
        self.order = order

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: {passed, words}."""
        project = await self.project()
        async for _, reading in port_readings(project, GateOrder.model_validate(self.order)):
            self.log.info("%s", reading.words)
            if reading.passed or reading.hopeless:
                yield TriggerEvent({"passed": reading.passed, "words": reading.words})  # type: ignore[no-untyped-call]
                return


class SavepointTrigger(ProjectTrigger):
    """Fires when a savepoint is complete or has failed, its deadline is over, or the cluster doesn't answer.

    Args:
        ordered: The fields of a `sluice.operation.savepoint.Ordered`.
        deadline: Unix time in seconds.
        token: The operation's fencing token at the start of the wait. As long as it is unchanged, no other try has
            taken the operation.
        root, environment: The project; see `ProjectTrigger`.
    """

    def __init__(
        self,
        *,
        ordered: dict[str, Any],
        deadline: float,
        token: int,
        root: str | None = None,
        environment: str | None = None,
    ) -> None:
        super().__init__(root=root, environment=environment)
        self.token = token
        self.ordered = ordered
        self.deadline = deadline

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: {ordered, location, failure, unreachable}; one of the last three is not None."""
        event: dict[str, Any] = {"ordered": self.ordered, "location": None, "failure": None, "unreachable": None}
        waiting = await_savepoint(await self.project(), self.ordered["flink_job_id"], self.ordered["trigger_id"])
        try:
            seen = await asyncio.wait_for(waiting, max(0.0, self.deadline - time.time()))
            event |= {"location": seen.location, "failure": seen.failure}
        except TimeoutError:
            event["failure"] = "it was not complete in time"
        except UnreachableError as error:
            event["unreachable"] = str(error)
        yield TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Release the job's lock if a person marked the task; after a clear, the next try takes the lock itself."""
        await sync_to_async(self.abandon_operation)()

    def abandon_operation(self) -> None:
        """End the operation as abandoned, unless another try has taken it or it has ended."""
        ledger = ledger_of(self.root, self.environment)
        operation = ledger.operation(self.ordered["operation"])
        if operation.active_job is not None and operation.token == self.token:
            ledger.resume(operation.id).finish(
                Outcome.ABANDONED, "the run was ended by a person; the savepoint may be complete"
            )


_PROGRESS_INTERVAL = 60.0
"""Seconds after which a chunk's trigger fires with the chunk's progress, or a queued chunk's trigger logs a line."""
_QUEUE_PAUSE = 3.0
"""Seconds between two readings of a chunk's position in the queue."""
_OUTAGE_TIMEOUT = 600.0
"""Seconds without an answer of the cluster after which a queued chunk fails: above the restart of a JobManager."""
_TASK_START = 6.0
"""Seconds from the event of a trigger until its task has claimed the chunk."""
_MAX_RANK = 9
"""The highest rank in the queue that lengthens the pause; with it, the pause is half a minute."""
_LOG_INTERVAL = 10.0
"""Seconds between two lines of a running chunk's log."""


class ReplayTrigger(ProjectTrigger):
    """Fires when a chunk's Flink job has ended, each minute with its progress, or when its cluster doesn't answer.

    Args:
        root, environment: The project; see `ProjectTrigger`.
        flink_job_id: The Flink job.
        name: The chunk's name, for the log.
        total: The maximum number of records that it reads.
        begun: When the chunk began, as Unix time in seconds.
    """

    def __init__(
        self, *, root: str | None, environment: str | None, flink_job_id: str, name: str, total: int, begun: float
    ) -> None:
        super().__init__(root=root, environment=environment)
        self.flink_job_id = flink_job_id
        self.name = name
        self.total = total
        self.begun = begun

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event: {flink_job_id, state, records, words, seconds_left}.

        `state` is Flink's; None: Flink doesn't know the job; `UNREACHABLE`: the cluster has not answered for a minute.
        """
        until, next_line = time.time() + _PROGRESS_INTERVAL, 0.0
        try:
            async for progress in watch_chunk(await self.project(), self.flink_job_id):
                elapsed = time.time() - self.begun
                words = progress.describe(self.total, elapsed)
                if progress.is_over or time.time() > until:
                    yield self._event(progress.state.value if progress.state else None, progress, elapsed)
                    return
                if time.time() > next_line:
                    next_line = time.time() + _LOG_INTERVAL
                    self.log.info("%s: %s", self.name, words)
        except UnreachableError as error:
            yield self._event("UNREACHABLE", ChunkProgress(None, failure=str(error)), 0)

    def _event(self, state: str | None, progress: ChunkProgress, elapsed: float) -> TriggerEvent:
        left = progress.seconds_left(self.total, elapsed)
        event = {"state": state, "records": progress.records, "words": progress.failure, "seconds_left": left}
        event["flink_job_id"] = self.flink_job_id
        return TriggerEvent(event)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Cancel the Flink job if a person marked or cleared the task. A restart of the triggerer doesn't call this."""
        async with (await self.project()).connect_async() as flink:
            try:
                await flink.send(calls.cancel(self.flink_job_id))
            except JobNotFoundError:
                self.log.info("%s: Flink does not know job %s any more", self.name, self.flink_job_id)


class ChunkQueueTrigger(ProjectTrigger):
    """Fires when a queued chunk may be started, or needs no start any more.

    Args:
        root, environment: The project; see `ProjectTrigger`.
        replay: The replay's id.
        number: The chunk's number.
        taker: The task that waits.
        parallel: The maximum number of chunks of the replay that run at the same time.
        most: The maximum over all replays of the job.
        slots: The number of task slots of a chunk.
    """

    def __init__(
        self,
        *,
        root: str | None,
        environment: str | None,
        replay: str,
        number: int,
        taker: str,
        parallel: int,
        most: int,
        slots: int = 1,
    ) -> None:
        super().__init__(root=root, environment=environment)
        self.replay = replay
        self.number = number
        self.taker = taker
        self.parallel = parallel
        self.most = most
        self.slots = slots

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Yield one event, without content. Until then, log each minute what the chunk waits for."""
        project = await self.project()
        clock = project.clock
        outage = OutageTimeout(_OUTAGE_TIMEOUT, clock)
        startable_since: float | None = None
        next_line = clock.monotonic() + _PROGRESS_INTERVAL
        while True:
            pause = _QUEUE_PAUSE
            try:
                position, slots = await sync_to_async(self._read_position)(project)
                if position.is_over:
                    break
                # Chunks with lower numbers go first: their tasks take seconds to claim them.
                rank = min(position.before // self.parallel, _MAX_RANK)
                startable_since = (startable_since or clock.monotonic()) if position.may_start else None
                if startable_since is not None and clock.monotonic() - startable_since >= rank * _TASK_START:
                    break
                if clock.monotonic() > next_line:
                    next_line = clock.monotonic() + _PROGRESS_INTERVAL
                    self.log.info("%s", await sync_to_async(self._words)(position, slots))
                pause *= 1 + rank
                outage.answered()
            except UnreachableError as error:
                outage.failed(error)
                self.log.warning("%s", error)
            await clock.pause(pause)
        yield TriggerEvent({})  # type: ignore[no-untyped-call]

    def _read_position(self, project: Project) -> tuple[QueuePosition, SlotAvailability]:
        """The chunk's position in the queue, and the task slots that are free and not about to be taken by others."""
        ledger, place = ledger_of(self.root, self.environment), (self.replay, self.number)
        with project.connect() as client:
            slots = read_slot_availability(ledger, client)
        position = ledger.replays.queue_position(*place, self.taker, self._limits, alive=slots.alive)
        slots = slots.without(ledger.replays.pending_slots(*place, slots.alive))
        return replace(position, may_start=position.may_start and slots.free >= self.slots), slots

    def _words(self, position: QueuePosition, slots: SlotAvailability) -> str:
        name = ledger_of(self.root, self.environment).replays.chunk(self.replay, self.number).name
        return describe_wait(name, self.slots, position, self._limits, slots)

    @property
    def _limits(self) -> ChunkLimits:
        return ChunkLimits(self.parallel, self.most)
