"""Triggers: waiting in the triggerer for gates, savepoints and chunks of replays; no worker slot is held."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import Any

from airflow.triggers.base import TriggerEvent
from asgiref.sync import sync_to_async

from sluice.airflow.project_trigger import ProjectTrigger
from sluice.airflow.projects import ledger_of, project_of
from sluice.errors import JobNotFoundError, UnreachableError
from sluice.flink import calls
from sluice.flink.access import Access
from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.health.gates import Gate
from sluice.job.limits import Health
from sluice.ledger.chunk_scheduling import ChunkLimits, QueuePosition
from sluice.operation.gate import GateOrder, readings
from sluice.operation.savepoint import await_savepoint
from sluice.project import Project
from sluice.replay.progress import ChunkProgress, watch_chunk
from sluice.replay.slots import OutageTimeout, SlotAvailability, describe_wait, read_slot_availability


class GateTrigger(ProjectTrigger):
    """Fires when a gate is passed, or can't be passed any more.

    Args:
        gate: `running`, `checkpoint`, `consumer_lag` or `watermark`.
        flink_job_id: The job.
        topics: What it reads.
        group: Its consumer group.
        health: The job's limits, as JSON values.
        deadline: Unix time, seconds.
        restored_from: What the job must have been restored from; None: not looked at.
        positions: Per topic and partition the offset before which it must not read; None: not looked at.
        untimed: Which of the topics it reads without event time.
        must_count: See `sluice.health.gates.judge`.
        root, environment: The project; see `ProjectTrigger`.
    """

    def __init__(  # noqa: PLR0913 - Airflow keeps a trigger as plain values
        self,
        *,
        gate: str,
        flink_job_id: str,
        topics: list[str],
        group: str,
        health: dict[str, Any],
        deadline: float,
        restored_from: str | None = None,
        positions: dict[str, dict[str, int]] | None = None,
        untimed: Sequence[str] = (),
        must_count: bool = True,
        root: str | None = None,
        environment: str | None = None,
    ) -> None:
        super().__init__(root=root, environment=environment)
        self.gate = gate
        self.flink_job_id = flink_job_id
        self.topics = topics
        self.group = group
        self.health = health
        self.deadline = deadline
        self.restored_from = restored_from
        self.positions = positions
        self.untimed = list(untimed)
        self.must_count = must_count

    @classmethod
    def of(cls, order: GateOrder, *, root: str | None, environment: str | None) -> GateTrigger:
        """The trigger that waits at the first gate of an order, which is of the project that these name."""
        return cls(
            gate=order.gates[0],
            flink_job_id=order.flink_job_id,
            topics=list(order.topics),
            group=order.group,
            health=order.health.model_dump(mode="json"),
            deadline=order.deadline,
            restored_from=order.restored_from,
            positions=None if order.positions is None else {name: dict(of) for name, of in order.positions.items()},
            untimed=list(order.untimed),
            must_count=order.must_count,
            root=root,
            environment=environment,
        )

    def order(self, project: Project) -> GateOrder:
        """What to wait for.

        Args:
            project: Whose brokers and cluster are asked.
        """
        return GateOrder(
            gates=(Gate(self.gate),),
            flink=project.flink,
            flink_job_id=self.flink_job_id,
            topics=tuple(self.topics),
            brokers=project.brokers,
            group=self.group,
            health=Health.model_validate(self.health),
            deadline=self.deadline,
            restored_from=self.restored_from,
            positions=self.positions,
            untimed=tuple(self.untimed),
            must_count=self.must_count,
        )

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: {passed, words}."""
        order = self.order(await sync_to_async(project_of)(self.root, self.environment))
        async for _, reading in readings(order):
            self.log.info("%s", reading.words)
            if reading.passed or reading.hopeless:
                yield TriggerEvent({"passed": reading.passed, "words": reading.words})  # type: ignore[no-untyped-call]
                return


class SavepointTrigger(ProjectTrigger):
    """Fires when a savepoint is complete or there will be none, when its time is over, or when nobody answers.

    Args:
        ordered: The savepoint, as `sluice.operation.savepoint.Ordered`.
        deadline: Unix time, seconds.
        token: The operation's fencing token when the wait began: whoever has it now is who waits.
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
        """One event: {ordered, location, failure, unreachable}; one of the last three is not None."""
        told: dict[str, Any] = {"ordered": self.ordered, "location": None, "failure": None, "unreachable": None}
        flink = (await sync_to_async(project_of)(self.root, self.environment)).flink
        waiting = await_savepoint(flink, self.ordered["flink_job_id"], self.ordered["trigger_id"])
        try:
            seen = await asyncio.wait_for(waiting, max(0.0, self.deadline - time.time()))
            told |= {"location": seen.location, "failure": seen.failure}
        except TimeoutError:
            told["failure"] = "it was not complete in time"
        except UnreachableError as error:
            told["unreachable"] = str(error)
        yield TriggerEvent(told)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """Let the job go that a task has held which was marked; a cleared one's next try holds it itself."""
        await sync_to_async(self.let_go)()

    def let_go(self) -> None:
        """End the operation, unless another try has it by now, or it has ended."""
        ledger = ledger_of(self.root, self.environment)
        operation = ledger.operation(self.ordered["operation"])
        if operation.active_job is not None and operation.token == self.token:
            ledger.resume(operation.id).finish("abandoned", "the run was given up; the savepoint may be complete")


_NEWS = 60.0
"""Seconds after which the task is told how far its chunk has come."""
_TURN = 3.0
"""Seconds between two looks whether it is a chunk's turn."""
_OUTAGE_TIMEOUT = 600.0
"""Seconds that the cluster may leave without an answer who only waits: a JobManager that is restarted takes some."""
_WAKING = 6.0
"""Seconds that a task takes from being woken to having taken its chunk."""
_RANKS = 9
"""How many times as long the last ones of many pause at the most: half a minute."""
_WORDS = 10.0
"""Seconds between two lines of the log."""


class ReplayTrigger(ProjectTrigger):
    """Fires when a chunk's Flink job is over, when there is news of it, or when its cluster does not answer any more.

    Args:
        root, environment: The project; see `ProjectTrigger`.
        flink_job_id: The job.
        name: Its name, for the log.
        total: How many records it reads, at the most.
        begun: When the chunk was begun, Unix time in seconds.
    """

    def __init__(
        self, *, root: str | None, environment: str | None, flink_job_id: str, name: str, total: int, begun: float
    ) -> None:
        super().__init__(root=root, environment=environment)
        self.flink_job_id = flink_job_id
        self.name = name
        self.total = total
        self.begun = begun
        self._found: Access | None = None

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """One event: {flink_job_id, state, records, words, seconds_left}.

        `state` is Flink's; None: it does not know the job; `UNREACHABLE`: the cluster has not answered for a minute.
        """
        until, next_words = time.time() + _NEWS, 0.0
        try:
            async for progress in watch_chunk(await self._cluster(), self.flink_job_id):
                elapsed = time.time() - self.begun
                words = progress.describe(self.total, elapsed)
                if progress.is_over or time.time() > until:
                    yield self._event(progress.state.value if progress.state else None, progress, elapsed)
                    return
                if time.time() > next_words:
                    next_words = time.time() + _WORDS
                    self.log.info("%s: %s", self.name, words)
        except UnreachableError as error:
            yield self._event("UNREACHABLE", ChunkProgress(None, failure=str(error)), 0)

    def _event(self, state: str | None, progress: ChunkProgress, elapsed: float) -> TriggerEvent:
        left = progress.seconds_left(self.total, elapsed)
        told = {"state": state, "records": progress.records, "words": progress.failure, "seconds_left": left}
        told["flink_job_id"] = self.flink_job_id
        return TriggerEvent(told)  # type: ignore[no-untyped-call]

    async def on_kill(self) -> None:
        """End the Flink job of a task that was marked or cleared; a triggerer that restarts doesn't come here."""
        async with AsyncFlinkClient(await self._cluster()) as flink:
            try:
                await flink.send(calls.cancel(self.flink_job_id))
            except JobNotFoundError:
                self.log.info("%s: Flink job %s is gone already", self.name, self.flink_job_id)

    async def _cluster(self) -> Access:
        """Found once: whoever is killed has little time."""
        if self._found is None:
            project: Project = await sync_to_async(project_of)(self.root, self.environment)
            self._found = project.flink
        return self._found


class TurnTrigger(ProjectTrigger):
    """Fires when it may be a chunk's turn to be started.

    Args:
        root, environment: The project; see `ProjectTrigger`.
        replay: The replay's id.
        number: The chunk's.
        taker: Who waits.
        parallel: How many chunks of the replay may run side by side.
        most: How many of all the job's replays.
        slots: How many task slots a chunk takes.
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
        """One event, without content; until then a line of the log each minute says what the chunk waits for."""
        flink = (await sync_to_async(project_of)(self.root, self.environment)).flink
        patience = OutageTimeout(_OUTAGE_TIMEOUT)
        come_since: float | None = None
        next_words = time.time() + _NEWS
        while True:
            pause = _TURN
            try:
                turn, found = await sync_to_async(self._look)(flink)
                if turn.is_over:
                    break
                # Those with lower numbers go first: a task that is woken takes seconds until it has taken its chunk.
                rank = min(turn.before // self.parallel, _RANKS)
                come_since = (come_since or time.time()) if turn.may_start else None
                if come_since is not None and time.time() - come_since >= rank * _WAKING:
                    break
                if time.time() > next_words:
                    next_words = time.time() + _NEWS
                    self.log.info("%s", await sync_to_async(self._words)(turn, found))
                pause *= 1 + rank
                patience.answered()
            except UnreachableError as error:
                patience.failed(error)
                self.log.warning("%s", error)
            await asyncio.sleep(pause)
        yield TriggerEvent({})  # type: ignore[no-untyped-call]

    def _look(self, flink: Access) -> tuple[QueuePosition, SlotAvailability]:
        """Where the chunk stands, the cluster's task slots and what others are about to take of them counted."""
        ledger, place = ledger_of(self.root, self.environment), (self.replay, self.number)
        with FlinkClient(flink) as client:
            found = read_slot_availability(ledger, client)
        turn = ledger.replays.queue_position(*place, self.taker, self._limits, alive=found.alive)
        found = found.without(ledger.replays.pending_slots(*place, found.alive))
        return replace(turn, may_start=turn.may_start and found.free >= self.slots), found

    def _words(self, turn: QueuePosition, found: SlotAvailability) -> str:
        name = ledger_of(self.root, self.environment).replays.chunk(self.replay, self.number).name
        return describe_wait(name, self.slots, turn, self._limits, found)

    @property
    def _limits(self) -> ChunkLimits:
        return ChunkLimits(self.parallel, self.most)
