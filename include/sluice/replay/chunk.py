"""One chunk of a replay: a bounded Flink job, started once, found again after a crash, cancelled with its replay."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass

from sluice.client.protocol import Part, Submit
from sluice.compiler import Compiler
from sluice.errors import FlinkError, JobNotFoundError, OperationError, SluiceError, UnreachableError
from sluice.flink import calls, ending
from sluice.flink.access import Access
from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.flink.ending import job_state
from sluice.flink.identity import Identity, identify
from sluice.flink.models import JobState
from sluice.job.duration import epoch_milliseconds
from sluice.kafka import topics
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import read_offsets
from sluice.ledger.chunk_scheduling import ChunkLimits, Slots, is_young
from sluice.ledger.replay_tables import ChunkState, ReplayChunk
from sluice.project import Project
from sluice.replay.live_guard import refuse_behind
from sluice.replay.model import LIVE, ReplayPlan
from sluice.replay.preflight import target_of
from sluice.replay.slots import OutageTimeout, is_there, room, why_it_waits
from sluice.state.locate import refuse_on_other_cluster

Tell = Callable[[str], None]
PAUSE = 1.0
"""Seconds between two looks at a chunk."""
_OLD = 5
"""Looks until what the cluster tells of a job that has ended must be of its end."""
_CANCEL_TIMEOUT = 25.0
_ROOM = 60.0
"""Seconds that a chunk that is ready waits for the task slots that were free when it was taken."""
_PATIENCE = 60.0
"""Seconds that a cluster may leave us without an answer."""


@dataclass(frozen=True)
class Progress:
    """How a chunk stands.

    Attributes:
        state: Of its Flink job; None: the cluster does not know it.
        records: How many it has read; None: not known yet.
        words: The reason for which it failed.
    """

    state: JobState | None
    records: int | None = None
    words: str = ""

    @property
    def is_over(self) -> bool:
        """Nothing more will come of this attempt."""
        return self.state is None or self.state.is_terminal

    def seconds_left(self, total: int, elapsed: float) -> float | None:
        """How long the rest takes at the speed so far; None: nothing has been read yet."""
        return elapsed * max(0, total - self.records) / self.records if self.records else None

    def describe(self, total: int, elapsed: float) -> str:
        """How far it has come, for a person.

        Args:
            total: How many records it reads, at the most.
            elapsed: Seconds since it was begun.
        """
        records, left = self.records or 0, self.seconds_left(total, elapsed)
        rest = "" if left is None else f", about {left:,.0f} s left"
        return f"{records:,} of {total:,} records ({records / max(1, total):.0%}){rest}"


class Chunk:
    """One chunk in the hands of one process.

    Args:
        project: The project.
        plan: The replay's.
        number: The chunk's, from 1.
        tell: Where progress goes.
        taker: Who runs it; the same name finds again what it has begun.
        is_gone: Whether another taker is known to have ended.
    """

    def __init__(
        self,
        project: Project,
        plan: ReplayPlan,
        number: int,
        tell: Tell,
        *,
        taker: str,
        is_gone: Callable[[str], bool] = lambda _taker: False,
    ) -> None:
        self._project = project
        self._replays = project.ledger.replays
        self._plan = plan
        self.part = plan.chunk(number)
        self._tell = tell
        self._taker = taker
        self._is_gone = is_gone
        self._is_submitting = self._is_called_off = False
        self.limits = ChunkLimits(plan.parallel, plan.most)
        self.waits_for = ""
        """Why it could not be taken the last time, in words."""

    @property
    def slots(self) -> int:
        """Task slots that it takes."""
        return self._plan.parallelism if self.part.records else 0

    @property
    def row(self) -> ReplayChunk:
        """The chunk as the ledger has it."""
        return self._replays.chunk(self._plan.id, self.part.number)

    def begin(self, ends: Callable[[], bool] = lambda: False) -> str | None:
        """The Flink job that runs the chunk, found or started; None: it waits for its turn, or has finished.

        Args:
            ends: See `start`.

        Raises:
            RefusedError, OperationError, FlinkError, UnreachableError: see `take` and `start`.
        """
        if self.row.state == "finished":
            return None
        return self.find() or (self.start(ends) if self.take() else None)

    def find(self) -> str | None:
        """The Flink job that runs the chunk, or has just run it: this taker's from now on; None: there is none."""
        row = self.row
        if row.flink_job_id is None or row.state != "running":
            return None
        with FlinkClient(self._project.flink) as flink:
            if not is_there(flink, row.flink_job_id):
                self._refuse_elsewhere(flink, row, row.flink_job_id)
                return None
        self._tell(f"{self.part.name} runs already, as Flink job {row.flink_job_id}")
        self._replays.adopt(self._plan.id, self.part.number, self._taker, row.flink_job_id)
        return row.flink_job_id

    def run_again(self) -> None:
        """Let it, which has finished, wait for its turn once more; nothing of the replay is promoted meanwhile.

        Raises:
            RefusedError: others have written into its output since.
            OperationError: the topics no longer hold what it reads.
        """
        self._refuse_gone()
        self._replays.run_again(self._plan.id, self.part.number)

    def take(self) -> bool:
        """Take the chunk to start it; False: it isn't its turn yet, somebody else starts it, or it has finished.

        Raises:
            RefusedError: the replay was cancelled; or it had ended, and others have written into its output since.
        """
        place = (self._plan.id, self.part.number)
        with FlinkClient(self._project.flink) as flink:
            found = room(self._project.ledger, flink)
        is_taken = self._replays.take_turn(
            *place,
            self._taker,
            self.limits,
            alive=found.alive,
            is_gone=self._is_gone,
            slots=Slots(self.slots, found.free) if self.slots else None,
        )
        if not is_taken:
            turn = self._replays.turn(*place, self._taker, self.limits, alive=found.alive)
            found = found.beside(self._replays.pending_slots(*place, found.alive))
            self.waits_for = why_it_waits(self.part.name, self.slots, turn, self.limits, found)
        return is_taken

    def start(self, ends: Callable[[], bool] = lambda: False) -> str | None:
        """Submit a chunk that was taken; its Flink job.

        None: the topics hold nothing of it, and it has finished; or a live job has come to need the task slots, and it
        waits for its turn again.

        Args:
            ends: Asked last of all: it was called off meanwhile.

        Raises:
            RefusedError: it does not compile, or an output differs; nothing was touched.
            OperationError, FlinkError, UnreachableError: it could not be submitted, or was called off; or it writes
                into the live topic, and the live job isn't past the range.
        """
        if not self.part.records:
            self._create_outputs()
            self._end("finished", None, records=0)
            self._tell(f"{self.part.name}: the topics hold nothing of it")
            return None
        try:
            self._refuse_gone()
            if self._plan.output == LIVE:
                refuse_behind(self._project, self._plan.job, self._plan, again="run this chunk again in a while")
            with FlinkClient(self._project.flink) as flink, self._compiler() as compiler:
                release = self._project.ledger.release(self._plan.job, self._plan.release)
                compiler.prepare(target_of(self._plan, release), part=_order(self._plan, self.part.number))
                self._create_outputs()
                has_room = self._await_room(flink, ends)
                if ends():
                    raise self._called_off()
                if not has_room:
                    self._replays.give_back(self._plan.id, self.part.number, self._taker)
                    return None
                return self._submit(flink, compiler, ends)
        except SluiceError as error:
            row = self.row
            if (row.state, row.taker) == ("starting", self._taker):
                self._end("failed", None, reason=str(error))
            raise

    def conclude(self, flink_job_id: str, progress: Progress) -> None:
        """Record how an attempt ended.

        Raises:
            OperationError: it has not finished, or what it was to read has been deleted meanwhile.
        """
        if self.row.state == "finished":
            # Another one has seen to it; the cluster forgets what it ran.
            return
        if progress.state is JobState.FINISHED:
            try:
                self._refuse_gone()
            except OperationError as error:
                self._end("failed", flink_job_id, records=progress.records, reason=str(error))
                raise
            self._end("finished", flink_job_id, records=progress.records)
            self._tell(f"{self.part.name} has finished: {progress.records or 0:,} records read")
            return
        state: ChunkState = "cancelled" if progress.state is JobState.CANCELED else "failed"
        found = progress.state.value if progress.state else "unknown to the cluster"
        words = f"{self.part.name} is {found}{f': {progress.words}' if progress.words else ''}"
        self._end(state, flink_job_id, records=progress.records, reason=words)
        raise OperationError(words, remedy="run this chunk again; what it has written stays right by its keys")

    def read(self, records: int) -> None:
        """Record how many records it has read so far."""
        self._replays.read(self._plan.id, self.part.number, records)

    def cancel(self, *, confirms_loss: bool = False) -> None:
        """End its Flink job, if one may run, and wait until it has ended; one that is on its way is waited for.

        Called while this one itself submits it, as a signal does, it returns at once: `start` ends it.

        Args:
            confirms_loss: A person has confirmed that nothing runs on the cluster where it was started.

        Raises:
            OperationError: it doesn't end.
            RefusedError: it was started on another cluster than today's, and runs there, or may do so.
        """
        if self._is_submitting:
            self._is_called_off = True
            return
        row = self.row
        if row.state == "starting" and row.taker == self._taker:
            self._end("cancelled", None)
            row = self.row
        if row.flink_job_id is None or row.state != "running":
            return
        with FlinkClient(self._project.flink) as flink:
            while job_state(flink, row.flink_job_id) is None and self._is_of(row.flink_job_id) and is_young(row):
                time.sleep(PAUSE)
            self._refuse_elsewhere(flink, row, row.flink_job_id, confirms_loss=confirms_loss)
            ending.cancel(flink, row.flink_job_id, _CANCEL_TIMEOUT)
        self._end("cancelled", row.flink_job_id)
        self._tell(f"{self.part.name} was cancelled")

    def _refuse_elsewhere(
        self, flink: FlinkClient, row: ReplayChunk, flink_job_id: str, *, confirms_loss: bool = False
    ) -> None:
        """Refuse to take its Flink job for ended that was started on another cluster than today's.

        Raises:
            RefusedError: it runs there, or that can't be told.
        """
        if row.cluster is None or job_state(flink, flink_job_id) is not None:
            return
        cancel = f"sluice backfill {self._plan.job} --cancel {self._plan.id[:8]}"
        refuse_on_other_cluster(
            self._project,
            flink,
            self.part.name,
            flink_job_id,
            Identity.of(row.cluster),
            confirms_loss=confirms_loss,
            remedy="name the former cluster again in the deployment file or its connection, or bring it back; if it is "
            f"lost for good: {cancel} --confirm-lost-cluster",
            remedy_where_it_runs="name the former cluster again in the deployment file or its connection, and end the "
            f"replay there: {cancel}",
        )

    def _await_room(self, flink: FlinkClient, ends: Callable[[], bool]) -> bool:
        """Compiling takes seconds, in which a live job may have come to need the task slots that were free before.

        False: they are not free again in time.
        """
        until = time.monotonic() + _ROOM
        while not ends():
            found = room(self._project.ledger, flink)
            found = found.beside(self._replays.pending_slots(self._plan.id, self.part.number, found.alive))
            if found.free >= self.slots:
                return True
            if time.monotonic() > until:
                self._tell(
                    f"{self.part.name} takes {self.slots} task slots, {found.words}: it waits for its turn again"
                )
                break
            time.sleep(PAUSE)
        return False

    def _submit(self, flink: FlinkClient, compiler: Compiler, ends: Callable[[], bool]) -> str:
        part = self.part
        self._is_submitting, self._is_called_off = True, False
        try:
            cluster = identify(flink, self._project.flink_name).values
            flink_job_id = self._replays.submitting(self._plan.id, part.number, self._taker, cluster)
            self._send(flink, compiler, flink_job_id)
        finally:
            self._is_submitting = False
        if ends() or self._is_called_off or not self._is_of(flink_job_id):
            ending.cancel(flink, flink_job_id, _CANCEL_TIMEOUT)
            self._end("cancelled", flink_job_id)
            raise self._called_off()
        self._tell(f"{part.name} runs as Flink job {flink_job_id}: {part.records:,} records at the most")
        return flink_job_id

    def _send(self, flink: FlinkClient, compiler: Compiler, flink_job_id: str) -> None:
        try:
            compiler.submit(Submit(flink_job_id=flink_job_id))
        except (FlinkError, OperationError, UnreachableError) as error:
            # The answer may have been lost, and what was sent be on its way; nothing more is sent.
            compiler.close()
            if not self._arrives(flink, flink_job_id):
                self._end("failed", flink_job_id, reason=str(error))
                raise

    def _is_of(self, flink_job_id: str) -> bool:
        """Whether the chunk still runs under this id."""
        row = self.row
        return (row.state, row.flink_job_id) == ("running", flink_job_id)

    def _called_off(self) -> OperationError:
        return OperationError(f"{self.part.name} was called off")

    def _arrives(self, flink: FlinkClient, flink_job_id: str) -> bool:
        """Whether the cluster has the Flink job, as soon as it has, or once it can't come any more.

        Raises:
            UnreachableError: the cluster doesn't answer; whoever looks next finds out.
        """
        while job_state(flink, flink_job_id) is None and is_young(self.row):
            time.sleep(PAUSE)
        return is_there(flink, flink_job_id)

    def _end(
        self, state: ChunkState, flink_job_id: str | None, *, records: int | None = None, reason: str | None = None
    ) -> None:
        place = (self._plan.id, self.part.number)
        self._replays.chunk_ended(*place, state, flink_job_id=flink_job_id, records=records, reason=reason)

    def _refuse_gone(self) -> None:
        """What the chunk reads must still be there; deleted from before its end, its rows would be of a part of it."""
        reads = self._plan.resolved["reads"]
        topics_read = {reads[name]["topic"] for name in self.part.offsets}
        held = read_offsets(connect(self._project.kafka), topics_read, self._project.kafka_servers)
        for name, offsets in self.part.offsets.items():
            topic = reads[name]["topic"]
            for number, (start, end) in offsets.items():
                first = held[topic, number].start
                if start < end and start < first:
                    raise OperationError(
                        f"{self.part.name}: {topic}[{number}] has deleted its records before offset {first:,} since "
                        f"the replay was planned, and the chunk needs those from {start:,} on",
                        remedy="plan a replay of a later range",
                    )

    def _compiler(self) -> Compiler:
        return Compiler(self._project, self._plan.job, self._tell)

    def _create_outputs(self) -> None:
        """Create the replay's own topics, once the pipeline is known to compile."""
        if self._plan.output != "separate":
            return
        writes = self._plan.resolved["writes"]
        admin = connect(self._project.kafka)
        wanted = tuple(
            topics.Declared(topic, self._plan.partitions[sink], writes[sink]["replication"], writes[sink]["settings"])
            for sink, topic in self._plan.outputs.items()
        )
        found = topics.describe(admin, self._plan.outputs.values(), self._project.kafka_servers)
        missing = [topics.Step(topic, "create") for topic in wanted if topic.name not in found]
        topics.apply(admin, missing, self._project.kafka_servers)
        for step in missing:
            self._tell(step.words)


async def progress_of(
    flink: Access, flink_job_id: str, ends: Callable[[], bool] = lambda: False
) -> AsyncGenerator[Progress]:
    """How a chunk stands, again and again; the last one is over, unless the watching ends before.

    Raises:
        UnreachableError: the cluster has not answered for a minute; the chunk may well run.
    """
    async with AsyncFlinkClient(flink) as client:
        patience = OutageTimeout(_PATIENCE)
        while not ends():
            try:
                yield (found := await _look(client, flink_job_id))
                patience.answered()
                if found.is_over:
                    return
            except UnreachableError as error:
                patience.endure(error)
            await asyncio.sleep(PAUSE)


def _order(plan: ReplayPlan, number: int) -> Part:
    part = plan.chunk(number)
    return Part(
        name=part.name,
        offsets=part.offsets,
        begins=plan.begins,
        ends=plan.ends,
        since_ms=epoch_milliseconds(part.since),
        before_ms=epoch_milliseconds(part.before),
        until_ms=epoch_milliseconds(part.until),
    )


async def _look(flink: AsyncFlinkClient, flink_job_id: str) -> Progress:
    try:
        state = (await flink.send(calls.status(flink_job_id))).status
        detail = await flink.send(calls.job(flink_job_id))
        for _ in range(_OLD):
            if detail.state is state or not state.is_terminal:
                break
            # What the cluster tells of a job is some seconds old, its state is not.
            await asyncio.sleep(PAUSE)
            detail = await flink.send(calls.job(flink_job_id))
        words = ""
        if state is JobState.FAILED:
            history = (await flink.send(calls.exceptions(flink_job_id))).history.entries
            words = history[0].words if history else ""
    except JobNotFoundError:
        return Progress(None)
    records = sum(vertex.totals.read_records for vertex in detail.vertices if vertex.is_source)
    return Progress(state, records, words)
