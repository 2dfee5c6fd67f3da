"""One chunk of a replay: a bounded Flink job, submitted once, found again after a crash, cancelled with its replay."""

from __future__ import annotations

from collections.abc import Callable

from sluice.client.protocol import Part, Submit
from sluice.errors import FlinkError, OperationError, SluiceError, UnreachableError
from sluice.flink import ending
from sluice.flink.client import FlinkClient
from sluice.flink.ending import job_state
from sluice.flink.identity import Identity, identify
from sluice.flink.models import JobState
from sluice.job.duration import epoch_milliseconds
from sluice.ledger.chunk_scheduling import ChunkLimits, SlotDemand, is_young
from sluice.ledger.replay_tables import ChunkState, ReplayChunk
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.replay.live_guard import refuse_behind
from sluice.replay.model import Log, OutputKind, ReplayPlan
from sluice.replay.outputs import create_outputs
from sluice.replay.progress import ChunkProgress
from sluice.replay.release import compile_target
from sluice.replay.slots import describe_wait, exists, read_slot_availability
from sluice.state.locate import refuse_on_other_cluster

PAUSE = 1.0
"""Seconds between two requests to the cluster."""
_CANCEL_TIMEOUT = 25.0
"""Seconds."""
_SLOT_TIMEOUT = 60.0
"""Seconds that a compiled chunk waits for the task slots that were free when it was claimed."""


class Chunk:
    """One chunk of a replay, run by one process.

    Args:
        project: The project.
        plan: The replay's plan.
        number: The chunk's number, from 1.
        log: Takes progress messages.
        taker: The name of the task or process that runs the chunk; the same name finds its Flink job again.
        is_gone: Whether another taker is known to have ended.
    """

    def __init__(
        self,
        project: Project,
        plan: ReplayPlan,
        number: int,
        log: Log,
        *,
        taker: str,
        is_gone: Callable[[str], bool] = lambda _taker: False,
    ) -> None:
        self._project = project
        self._replays = project.ledger.replays
        self._clock = project.clock
        self._plan = plan
        self.part = plan.chunk(number)
        self._log = log
        self._taker = taker
        self._is_gone = is_gone
        self._is_submitting = self._is_cancel_requested = False
        self.limits = ChunkLimits(plan.parallel, plan.most)
        self.waits_for = ""
        """Why the last claim was refused, as text."""

    @property
    def slots(self) -> int:
        """Task slots that it takes."""
        return self._plan.parallelism if self.part.records else 0

    @property
    def row(self) -> ReplayChunk:
        """The chunk's row in the ledger."""
        return self._replays.chunk(self._plan.id, self.part.number)

    def begin(self, is_stopping: Callable[[], bool] = lambda: False) -> str | None:
        """Find the chunk's Flink job, or start it; None: the chunk is queued, or has finished.

        Args:
            is_stopping: See `start`.

        Raises:
            RefusedError, OperationError, FlinkError, UnreachableError: see `claim` and `start`.
        """
        if self.row.state is ChunkState.FINISHED:
            return None
        return self.find() or (self.start(is_stopping) if self.claim() else None)

    def find(self) -> str | None:
        """The chunk's Flink job, running or just finished, which this taker watches from now on; None: there is none.

        Raises:
            RefusedError: it was started on another cluster than today's.
            UnreachableError: the cluster doesn't answer.
        """
        row = self.row
        if row.flink_job_id is None or row.state is not ChunkState.RUNNING:
            return None
        with self._project.connect() as flink:
            if not exists(flink, row.flink_job_id):
                self._refuse_on_other_cluster(flink, row, row.flink_job_id)
                return None
        self._log(f"{self.part.name} already runs as Flink job {row.flink_job_id}")
        self._replays.adopt(self._plan.id, self.part.number, self._taker, row.flink_job_id)
        return row.flink_job_id

    def run_again(self) -> None:
        """Queue a finished chunk once more; the replay can't be promoted until it has finished again.

        Raises:
            RefusedError: another replay has since written the same rows.
            OperationError: the topics no longer hold the chunk's input.
        """
        self._refuse_deleted_input()
        self._replays.run_again(self._plan.id, self.part.number)

    def claim(self) -> bool:
        """Claim the chunk in the ledger, so that only this taker starts it.

        False: its limits or the free task slots don't allow another chunk, another taker has claimed it, or it has
        finished; `waits_for` says which.

        Raises:
            RefusedError: the replay was cancelled; or it had ended, and another one has since written the same rows.
            UnreachableError: the cluster doesn't answer.
        """
        place = (self._plan.id, self.part.number)
        with self._project.connect() as flink:
            slots = read_slot_availability(self._project.ledger, flink)
        is_claimed = self._replays.claim(
            *place,
            self._taker,
            self.limits,
            alive=slots.alive,
            is_gone=self._is_gone,
            slots=SlotDemand(self.slots, slots.free) if self.slots else None,
        )
        if not is_claimed:
            position = self._replays.queue_position(*place, self._taker, self.limits, alive=slots.alive)
            slots = slots.without(self._replays.pending_slots(*place, slots.alive))
            self.waits_for = describe_wait(self.part.name, self.slots, position, self.limits, slots)
        return is_claimed

    def start(self, is_stopping: Callable[[], bool] = lambda: False) -> str | None:
        """Compile and submit a claimed chunk; the id of its Flink job.

        None: it has no records and has finished; or a live job needs the task slots, and the chunk is queued again.

        Args:
            is_stopping: Whether to cancel the chunk instead of submitting it; called last before the submission.

        Raises:
            RefusedError: it doesn't compile, or an output topic differs; nothing was changed.
            OperationError, FlinkError, UnreachableError: it could not be submitted, or was cancelled before; or it
                writes into the live topic, and the live job hasn't read past the range.
        """
        if not self.part.records:
            create_outputs(self._project, self._plan, self._log)
            self._end(ChunkState.FINISHED, None, records=0)
            self._log(f"{self.part.name}: the topics hold no records of its range")
            return None
        try:
            self._refuse_deleted_input()
            if self._plan.output is OutputKind.LIVE:
                refuse_behind(self._project, self._plan.job, self._plan, again="run this chunk again in a while")
            with self._project.connect() as flink, self._compiler() as compiler:
                release = self._project.ledger.release(self._plan.job, self._plan.release)
                compiler.prepare(compile_target(self._plan, release), part=_part(self._plan, self.part.number))
                # Not before the pipeline compiles: a chunk that fails to compile leaves no empty topic.
                create_outputs(self._project, self._plan, self._log)
                has_slots = self._await_slots(flink, is_stopping)
                if is_stopping():
                    raise self._cancelled()
                if not has_slots:
                    self._replays.give_back(self._plan.id, self.part.number, self._taker)
                    return None
                return self._submit(flink, compiler, is_stopping)
        except SluiceError as error:
            row = self.row
            if (row.state, row.taker) == (ChunkState.STARTING, self._taker):
                self._end(ChunkState.FAILED, None, reason=str(error))
            raise

    def conclude(self, flink_job_id: str, progress: ChunkProgress) -> None:
        """Record how an attempt ended.

        Args:
            flink_job_id: The attempt's Flink job.
            progress: Its last progress.

        Raises:
            OperationError: it has not finished, or Kafka deleted a part of its input before it did.
        """
        if self.row.state is ChunkState.FINISHED:
            # Another taker has recorded it; since then the cluster may have forgotten the job.
            return
        if progress.state is JobState.FINISHED:
            try:
                self._refuse_deleted_input()
            except OperationError as error:
                self._end(ChunkState.FAILED, flink_job_id, records=progress.records, reason=str(error))
                raise
            self._end(ChunkState.FINISHED, flink_job_id, records=progress.records)
            self._log(f"{self.part.name} has finished: {progress.records or 0:,} records read")
            return
        state = ChunkState.CANCELLED if progress.state is JobState.CANCELED else ChunkState.FAILED
        found = progress.state.value if progress.state else "unknown to the cluster"
        problem = f"{self.part.name} is {found}{f': {progress.failure}' if progress.failure else ''}"
        self._end(state, flink_job_id, records=progress.records, reason=problem)
        raise OperationError(problem, remedy="run this chunk again: its rows replace those already written, by key")

    def record_progress(self, records: int) -> None:
        """Record how many records it has read so far."""
        self._replays.read(self._plan.id, self.part.number, records)

    def cancel(self, *, confirms_loss: bool = False) -> None:
        """Cancel its Flink job, if it may run, and wait until it has ended.

        A job that was submitted but isn't registered yet is awaited first. Called in the process that is submitting
        it, as by a signal handler, `cancel` returns at once and `start` cancels the job.

        Args:
            confirms_loss: A person has confirmed that nothing runs on the cluster where the chunk was started.

        Raises:
            OperationError: the job doesn't end.
            RefusedError: it was started on another cluster than today's, and may run there.
            UnreachableError: the cluster doesn't answer.
        """
        if self._is_submitting:
            self._is_cancel_requested = True
            return
        row = self.row
        if row.state is ChunkState.STARTING and row.taker == self._taker:
            self._end(ChunkState.CANCELLED, None)
            row = self.row
        if row.flink_job_id is None or row.state is not ChunkState.RUNNING:
            return
        with self._project.connect() as flink:
            while job_state(flink, row.flink_job_id) is None and self._may_arrive(row):
                self._clock.sleep(PAUSE)
            self._refuse_on_other_cluster(flink, row, row.flink_job_id, confirms_loss=confirms_loss)
            ending.cancel(flink, row.flink_job_id, _CANCEL_TIMEOUT)
        self._end(ChunkState.CANCELLED, row.flink_job_id)
        self._log(f"{self.part.name} was cancelled")

    def _refuse_on_other_cluster(
        self, flink: FlinkClient, row: ReplayChunk, flink_job_id: str, *, confirms_loss: bool = False
    ) -> None:
        """Refuse to treat the job as ended because this cluster doesn't know it, if another cluster started it.

        Raises:
            RefusedError: it runs on the other cluster, or may run there.
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

    def _await_slots(self, flink: FlinkClient, is_stopping: Callable[[], bool]) -> bool:
        """Wait for task slots: in the seconds of compiling, a live job may have taken those that were free.

        False: they are not free in time.
        """
        until = self._clock.monotonic() + _SLOT_TIMEOUT
        while not is_stopping():
            slots = read_slot_availability(self._project.ledger, flink)
            slots = slots.without(self._replays.pending_slots(self._plan.id, self.part.number, slots.alive))
            if slots.free >= self.slots:
                return True
            if self._clock.monotonic() > until:
                self._log(f"{self.part.name} takes {self.slots} task slots, {slots.describe()}: it is queued again")
                break
            self._clock.sleep(PAUSE)
        return False

    def _submit(self, flink: FlinkClient, compiler: Compiler, is_stopping: Callable[[], bool]) -> str:
        part = self.part
        self._is_submitting, self._is_cancel_requested = True, False
        try:
            cluster = identify(flink, self._project.flink_name).values
            flink_job_id = self._replays.submitting(self._plan.id, part.number, self._taker, cluster)
            self._send(flink, compiler, flink_job_id)
        finally:
            self._is_submitting = False
        if is_stopping() or self._is_cancel_requested or not self._runs_as(flink_job_id):
            ending.cancel(flink, flink_job_id, _CANCEL_TIMEOUT)
            self._end(ChunkState.CANCELLED, flink_job_id)
            raise self._cancelled()
        self._log(f"{part.name} runs as Flink job {flink_job_id}: at most {part.records:,} records")
        return flink_job_id

    def _send(self, flink: FlinkClient, compiler: Compiler, flink_job_id: str) -> None:
        try:
            compiler.submit(Submit(flink_job_id=flink_job_id))
        except (FlinkError, OperationError, UnreachableError) as error:
            # The submission may have arrived though its answer was lost. A closed client sends nothing more.
            compiler.close()
            if not self._await_arrival(flink, flink_job_id):
                self._end(ChunkState.FAILED, flink_job_id, reason=str(error))
                raise

    def _runs_as(self, flink_job_id: str | None) -> bool:
        """Whether the ledger still has the chunk running under this id."""
        row = self.row
        return (row.state, row.flink_job_id) == (ChunkState.RUNNING, flink_job_id)

    def _may_arrive(self, row: ReplayChunk) -> bool:
        """Whether the chunk still has this Flink job, which the cluster may register in a moment."""
        return self._runs_as(row.flink_job_id) and is_young(row, self._clock.now())

    def _cancelled(self) -> OperationError:
        return OperationError(f"{self.part.name} was cancelled before its Flink job ran")

    def _await_arrival(self, flink: FlinkClient, flink_job_id: str) -> bool:
        """Whether the cluster has the Flink job: True as soon as it has, False once it can't arrive any more.

        Raises:
            UnreachableError: the cluster doesn't answer; the next attempt finds the job if it arrived.
        """
        while job_state(flink, flink_job_id) is None and is_young(self.row, self._clock.now()):
            self._clock.sleep(PAUSE)
        return exists(flink, flink_job_id)

    def _end(
        self, state: ChunkState, flink_job_id: str | None, *, records: int | None = None, reason: str | None = None
    ) -> None:
        place = (self._plan.id, self.part.number)
        self._replays.chunk_ended(*place, state, flink_job_id=flink_job_id, records=records, reason=reason)

    def _refuse_deleted_input(self) -> None:
        """Refuse a chunk a part of whose input Kafka has deleted: its rows would be computed from the rest."""
        reads = self._plan.resolved["reads"]
        topics = {reads[name]["topic"] for name in self.part.offsets}
        held = self._project.brokers.offsets(topics)
        for name, offsets in self.part.offsets.items():
            topic = reads[name]["topic"]
            for number, (start, end) in offsets.items():
                first = held[topic, number].start
                if start < end and start < first:
                    raise OperationError(
                        f"{self.part.name}: since the replay was planned, {topic}[{number}] has deleted its records "
                        f"before offset {first:,}; the chunk reads from offset {start:,}",
                        remedy="plan a replay of a later range",
                    )

    def _compiler(self) -> Compiler:
        return self._project.compiler(self._plan.job, self._log)


def _part(plan: ReplayPlan, number: int) -> Part:
    """The chunk's range and offsets, for the compiler."""
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
