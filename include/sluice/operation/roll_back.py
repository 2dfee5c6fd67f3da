"""Roll back a failed release: cancel its job, and start the former release from the state that it stopped with."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable
from dataclasses import dataclass

from sluice.client.protocol import Graph
from sluice.errors import FlinkError, OperationError, SluiceError, UnreachableError
from sluice.flink import calls, stale_metrics
from sluice.flink.client import FlinkClient
from sluice.flink.ending import job_state
from sluice.flink.models import JobState
from sluice.health.gates import Gate
from sluice.ledger.checkpoint_origin import origin
from sluice.ledger.operation_handle import OperationHandle
from sluice.ledger.tables import Placement, Release
from sluice.ledger.transitions import Cancel, Stopped
from sluice.ledger.values import Outcome, Phase
from sluice.operation.start import Start
from sluice.operation.started import Log, Started
from sluice.operation.stop import Stop, StopFailedError, record_failed
from sluice.operation.verify import pass_gates
from sluice.plan.changes import compare_values
from sluice.plan.model import Category
from sluice.plan.target import meanings
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.release.target import release_target
from sluice.state.compatibility import compare, compare_operators
from sluice.state.directories import directories_at
from sluice.state.latest import retry_checkpoint_read, state_at_placement
from sluice.state.locate import refuse_elsewhere
from sluice.state.offsets import topics_of
from sluice.state.operators import read_values
from sluice.state.state_loss import is_state_given_up, last_positions

_RECOVERY = 10.0
"""Seconds until a restarted JobManager has recovered its jobs from its high-availability store."""
_NO_LOSS = "no record is lost or written twice"
_NOTHING_EMITTED = f"The new release emitted nothing: {_NO_LOSS}"
_WITHOUT = "Its state was abandoned before: it started without state, from the consumer group's offsets at that time"
_TWICE = "any output since then stays in the topics and is written again"


@dataclass(frozen=True)
class RollbackResult:
    """The result of a rollback.

    Attributes:
        outcome: `rolled_back`, or `failed`: there was nothing to roll back to, or the rollback failed.
        words: Why the operation failed, and what the rollback means for the job's output.
        flink_job_id: The Flink job that the rollback started and that runs now; None: it started none.
    """

    outcome: Outcome
    words: str
    flink_job_id: str | None = None


def roll_back(
    project: Project,
    operation: OperationHandle,
    reason: str,
    flink: FlinkClient,
    log: Log,
    compile_with: Callable[[], Compiler],
) -> RollbackResult:
    """Cancel the job of this operation, start the former release from the state that it stopped with, and finish.

    May be called again after a crash: it continues after the last entry of the journal.

    Args:
        project: The project.
        operation: The operation, which is unfinished.
        reason: Why the operation failed.
        flink: The cluster.
        log: Receives progress.
        compile_with: Starts a client for the former release; closed here.

    Raises:
        UnreachableError: the cluster doesn't answer; a later attempt continues.
    """
    try:
        back = _RollBack(project, operation, flink, log).run(reason, compile_with)
    except UnreachableError:
        raise
    except StopFailedError as error:
        # The stop that was continued is that of the old job, which is still running.
        record_failed(operation, error)
        back = RollbackResult(Outcome.FAILED, f"{reason}; {error.message}; nothing was changed")
    except SluiceError as error:
        back = RollbackResult(
            Outcome.FAILED, f"{reason}; the rollback failed: {error}. The next deploy continues from the journal"
        )
    operation.finish(back.outcome, back.words)
    log(back.words)
    return back


class _RollBack:
    def __init__(self, project: Project, operation: OperationHandle, flink: FlinkClient, log: Log) -> None:
        self._project = project
        self._operation = operation
        self._flink = flink
        self._log = log

    def run(self, reason: str, compile_with: Callable[[], Compiler]) -> RollbackResult:
        operation, ledger = self._operation, self._project.ledger
        place = ledger.placement(operation.row.job)
        former = operation.row.former_release
        begun = operation.entry("back", "begin") is not None
        if (
            place is None
            or not (operation.is_touched or self._found_unproven(place))
            or (operation.entry("stop", "failed") and place.phase == Phase.RUNNING)
        ):
            return RollbackResult(Outcome.FAILED, f"{reason}; nothing was changed")
        if job_state(self._flink, place.flink_job_id) is None:
            refuse_elsewhere(self._project, self._flink, place)
        if not begun and (back := self._without_fault(place, reason, compile_with)):
            return back
        if former is None:
            return RollbackResult(
                Outcome.FAILED, f"{reason}; there is no former release to roll back to: the job is left as it is"
            )
        if former == operation.row.release and place.phase == Phase.RUNNING and not begun:
            return RollbackResult(
                Outcome.FAILED, f"{reason}; the operation did not change the release: the job is left as it is"
            )
        release = ledger.release(operation.row.job, former)
        with compile_with() as compiler:
            graph = compiler.prepare(release_target(release), carry_over=False).graph
            meant = self._end_what_runs(place, release, compiler, graph)
            flink_job_id = self._run(release, compiler)
        place = self._place()
        started = Started(
            operation.id, former, flink_job_id, place.restored_from, unchanged=False, positions=place.positions
        )
        problem = asyncio.run(pass_gates(self._project, operation, started, self._log, (Gate.RUNNING,)))
        if problem:
            return RollbackResult(
                Outcome.FAILED, f"{reason}; release {former} was started again and did not pass its gates: {problem}"
            )
        return RollbackResult(Outcome.ROLLED_BACK, f"{reason}; release {former} runs again. {meant}", flink_job_id)

    def _without_fault(
        self, place: Placement, reason: str, compile_with: Callable[[], Compiler]
    ) -> RollbackResult | None:
        """The result if the release did not cause the failure; None: it may have caused it."""
        if self._operation.row.kind == "suspend":
            # The job should be stopped, so start no release of it.
            return RollbackResult(Outcome.FAILED, f"{reason}; sluice suspend {place.job} continues the suspension")
        if self._operation.entry("back", "lost") or self._was_lost(place):
            return self._start_again(place, reason, compile_with)
        if self._metrics_stale(place):
            words = (
                f"{reason}; but the metrics of the cluster are stale, so the job can't be verified: it keeps running. "
                "Restart the JobManager, then deploy again to verify the job"
            )
            return RollbackResult(Outcome.FAILED, words)
        return None

    def _was_lost(self, place: Placement) -> bool:
        """Whether the cluster no longer knows the job that this operation has started.

        The cluster was restarted then, which is no fault of the release. A JobManager with high availability recovers
        its jobs, so wait `_RECOVERY` for that.
        """
        submitted = self._operation.entry("start", "submitted") or {}
        if place.phase != Phase.RUNNING or submitted.get("flink_job_id") != place.flink_job_id:
            return False
        return not self._project.clock.wait_for(
            lambda: job_state(self._flink, place.flink_job_id) is not None, within=_RECOVERY, pause=0.5
        )

    def _start_again(self, place: Placement, reason: str, compile_with: Callable[[], Compiler]) -> RollbackResult:
        """Start the same release from its newest state: the former release would write its output a second time."""
        release = self._project.ledger.release(place.job, place.release)
        if self._operation.entry("back", "lost") is None:
            self._operation.record("back", "lost", flink_job_id=place.flink_job_id)
        with compile_with() as compiler:
            compiler.prepare(release_target(release), carry_over=False)
            flink_job_id = self._run(release, compiler)
        place = self._place()
        started = Started(
            self._operation.id,
            release.number,
            flink_job_id,
            place.restored_from,
            unchanged=False,
            positions=place.positions,
        )
        problem = asyncio.run(pass_gates(self._project, self._operation, started, self._log, (Gate.RUNNING,)))
        words = f"{reason}; release {release.number} was started again from {place.restored_from or 'its beginning'}"
        if problem:
            return RollbackResult(Outcome.FAILED, f"{words}, and did not pass its gates: {problem}")
        meant = _NO_LOSS
        if weak := self._at_least_once(release):
            meant = f"its output to {', '.join(weak)} (at-least-once) since then is duplicated; nothing is lost"
        return RollbackResult(Outcome.FAILED, f"{words}: {meant}. Deploy again to verify it", flink_job_id)

    def _metrics_stale(self, place: Placement) -> bool:
        """Whether the job runs and completes checkpoints, and the cluster's metrics are stale."""
        if place.phase != Phase.RUNNING:
            return False
        try:
            detail = self._flink.send(calls.job(place.flink_job_id))
            completed = self._flink.send(calls.checkpoints(place.flink_job_id)).counts.completed
        except UnreachableError:
            raise
        except FlinkError:
            return False
        runs = detail.state is JobState.RUNNING and detail.tasks_running == detail.tasks_total
        return bool(runs and completed and stale_metrics.metrics_are_stale(self._flink))

    def _found_unproven(self, place: Placement) -> bool:
        """Whether an earlier operation started the release and crashed at its gates, and this one found it failing."""
        row = self._operation.row
        return (
            place.phase == Phase.RUNNING
            and place.release == row.release
            and row.former_release not in (None, row.release)
            and self._operation.entry("record", "recorded") is None
            and self._operation.entry("start", "submit") is None
        )

    def _end_what_runs(self, place: Placement, former: Release, compiler: Compiler, graph: Graph) -> str:
        """Cancel the new job, or complete an unfinished stop of the old one; what the rollback means for the output."""
        if place.phase == Phase.RUNNING and place.flink_job_id != self._back_id():
            self._intend(place, former, compiler, graph)
        elif self._operation.entry("back", "begin") is None:
            is_without = place.carried_over and place.state_path is None
            self._operation.record("back", "begin", meant=_WITHOUT if is_without else _NOTHING_EMITTED)
        place = self._place()
        self._operation.renew_lease()
        if place.phase == Phase.STOPPING:
            stop = Stop(
                self._flink,
                compiler,
                directories_at(self._project, self._flink, place),
                self._project.environment,
                self._log,
            )
            base = stop.complete(place)
            positions = None
            if base is None and is_state_given_up(place) and self._operation.entry("back", "cancel") is None:
                # The stop of the old job was requested, and the job may have committed offsets since then.
                positions = last_positions(self._project, place, topics_of(former.resolved))
            stopped = Stopped(Phase.STOPPED, base, positions=positions, release=former.number)
            self._operation.record("back", "stopped", transition=stopped, path=base)
        return str((self._operation.entry("back", "begin") or {}).get("meant", _NOTHING_EMITTED))

    def _intend(self, place: Placement, former: Release, compiler: Compiler, graph: Graph) -> None:
        """Journal how the new job is cancelled, and so which state the former release starts from.

        Raises:
            OperationError: the former release can use no state of the job, which is left as it is.
        """
        runs = self._project.ledger.release(place.job, place.release)
        hands_over = self._found_unproven(place) and not place.carried_over
        is_other = self._is_other(runs, former) or (
            hands_over and self._computes_other(runs, graph, compiler, lambda: self._newest(place, compiler))
        )
        if hands_over and not is_other and self._takes_newest(graph, compiler, place):
            # It may have run for long, and its output stays: so the former release continues from its newest state.
            meant = f"It continues from the newest checkpoint of release {runs.number}: {_NO_LOSS}"
            cancel = Cancel(by_checkpoint=uuid.uuid4().hex)
        elif self._is_known_to(place, former, graph, compiler) and _takes(graph, compiler, place.state_path):
            meant = self._meaning(place)
            # From now on the former release is the target, also for another process that continues the operation.
            cancel = Cancel(release=former.number)
            if hands_over:
                meant = f"Release {former.number} can't use the newest state of release {runs.number}. {meant}"
        else:
            raise OperationError(
                f"release {former.number} can't use the state in {place.state_path}: the job is left as it is",
                remedy="fix the cause and deploy again, or roll back with mode stateless",
            )
        self._operation.record("back", "begin", meant=meant)
        self._operation.record("back", "cancel", transition=cancel, flink_job_id=place.flink_job_id)

    def _run(self, release: Release, compiler: Compiler) -> str:
        """Start a release, or adopt the job that an earlier attempt has submitted; the Flink job id."""
        place = self._place()
        start = Start(self._project, self._flink, compiler, self._operation, self._log)
        path = place.state_path
        if place.phase == Phase.RUNNING:
            if start.has(place):
                return place.flink_job_id
            path = self._newest(place, compiler)
        # Positions without a state: the cancelled job was started without state, and so is this one.
        carry_over = path is None and place.positions is not None
        positions = compiler.inspect(path).positions if path else place.positions
        if carry_over:
            compiler.prepare(release_target(release), carry_over=True)
        flink_job_id = start.run(release.number, state_path=path, positions=positions, carry_over=carry_over)
        self._operation.record("back", "started", flink_job_id=flink_job_id)
        self._operation.update(flink_job_id=flink_job_id, restored_from=path)
        return flink_job_id

    def _back_id(self) -> str | None:
        """The Flink job id with which this operation submitted the former release, or was about to; None: neither."""
        entry = self._operation.entry("start", "submit")
        is_back = entry is not None and entry["release"] == self._operation.row.former_release
        return entry["flink_job_id"] if entry and is_back and self._operation.entry("back", "begin") else None

    def _is_other(self, release: Release, former: Release) -> bool:
        """Whether the former release interprets the state of a release differently."""
        altered = {**meanings(self._project, release), **meanings(self._project, former)}
        changes = compare_values(release.resolved, former.resolved, altered)
        return any(change.category == Category.STATE_BREAKING for change in changes)

    @staticmethod
    def _computes_other(release: Release, graph: Graph, compiler: Compiler, path: Callable[[], str | None]) -> bool:
        """Whether a stateful operator computes something else in the former release. False if that isn't known."""
        if not release.operators:
            return False
        state = retry_checkpoint_read(lambda: compiler.inspect(found) if (found := path()) else None)
        return bool(compare_operators(compare(state, graph), read_values(release.operators), graph).altered)

    def _is_known_to(self, place: Placement, former: Release, graph: Graph, compiler: Compiler) -> bool:
        """Whether the former release interprets the state from which the running job started as its writer did.

        Its writer may be the running release, before the cluster lost its job, or an unverified one between the two.
        """
        if place.state_path is None:
            return True
        ledger = self._project.ledger
        writer = ledger.release(place.job, origin(ledger, place.job, place.state_path) or place.release)
        if writer.number == former.number:
            return True
        return not (
            self._is_other(writer, former) or self._computes_other(writer, graph, compiler, lambda: place.state_path)
        )

    def _takes_newest(self, graph: Graph, compiler: Compiler, place: Placement) -> bool:
        return retry_checkpoint_read(lambda: _takes(graph, compiler, self._newest(place, compiler)))

    def _newest(self, place: Placement, compiler: Compiler) -> str | None:
        return state_at_placement(self._project, self._flink, compiler, place)

    def _meaning(self, place: Placement) -> str:
        """What the new release has written, by its number of checkpoints and the delivery guarantee of its sinks."""
        release = self._project.ledger.release(place.job, place.release)
        weak = self._at_least_once(release)
        try:
            completed = self._flink.send(calls.checkpoints(place.flink_job_id)).counts.completed
        except FlinkError:
            completed = None
        if place.carried_over and place.state_path is None:
            return _WITHOUT if completed == 0 and not weak else f"{_WITHOUT}; {_TWICE}"
        if completed == 0 and not weak:
            return f"Release {release.number} completed no checkpoint, so it emitted nothing: {_NO_LOSS}"
        if completed == 0:
            output = f"output of release {release.number} to {', '.join(weak)}"
            return f"The {output} (at-least-once) is duplicated; nothing is lost"
        count = "an unknown number of checkpoints" if completed is None else f"{completed} checkpoints"
        count = "1 checkpoint" if completed == 1 else count
        return (
            f"Release {release.number} completed {count}: its output since the savepoint stays in the topics, and "
            f"release {self._operation.row.former_release} writes it again; nothing is lost"
        )

    @staticmethod
    def _at_least_once(release: Release) -> list[str]:
        """The sinks that may write a record more than once."""
        return [name for name, sink in release.resolved["writes"].items() if sink["delivery"] != "exactly-once"]

    def _place(self) -> Placement:
        place = self._project.ledger.placement(self._operation.row.job)
        if place is None:
            raise FlinkError(f"{self._operation.row.job}: the ledger has no placement of the job")
        return place


def _takes(graph: Graph, compiler: Compiler, path: str | None) -> bool:
    """Whether the graph has every operator that has state."""
    return path is None or not compare(compiler.inspect(path), graph).dropped
