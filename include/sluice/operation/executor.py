"""Execute a plan stage by stage. Each stage writes its intention to the journal before it has an effect.

A retry makes a new plan from the ledger and the cluster, and continues the same operation.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Callable, Mapping
from itertools import dropwhile, takewhile
from typing import Any

from sluice.errors import BusyError, ChangedError, OperationError, RefusedError, SluiceError, UnreachableError
from sluice.flink.client import FlinkClient
from sluice.ledger.ledger import NewRelease
from sluice.ledger.operation_handle import OperationHandle
from sluice.ledger.tables import Placement
from sluice.ledger.transitions import CancelWithoutState, ChangePurpose, RecordRelease, RequestStop, Stopped
from sluice.ledger.values import Outcome, Phase, StopMode
from sluice.operation.holder import is_gone
from sluice.operation.start import Start
from sluice.operation.started import Log, Started
from sluice.operation.stop import Stop, StopFailedError, record_failed
from sluice.operation.verify import pass_gates, settle
from sluice.plan import stages
from sluice.plan.approval import Approval, refuse_unapproved
from sluice.plan.builder import Planned
from sluice.plan.model import Action, Plan
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.release.target import Target
from sluice.release.versions import COUNTS
from sluice.state.after_stop import is_savepoint, takes_savepoint
from sluice.state.directories import Directories, directories_at
from sluice.state.latest import state_at_placement
from sluice.state.offsets import topics_of
from sluice.state.operators import kept_values
from sluice.state.state_loss import is_state_given_up, last_positions


class GatesFailedError(OperationError):
    """The job did not pass a gate: the gate and its reading."""


class NotSettledError(OperationError):
    """The job is as planned, and the operation could not be ended. The next operation verifies the job again."""


class Executor:
    """Executes the stages of one plan.

    Args:
        project: The project.
        planned: The plan.
        flink: The cluster.
        compiler: The client that the plan was made with.
        holder: The holder of the operation. After a crash, the same holder continues its own operation.
        log: Receives progress.
        approval: The approval of a plan that loses state; None: there is none.
        note: The reason that was given.
        is_gone: Returns whether another holder is known to have ended.

    Attributes:
        outcome: The outcome; `failed` until `Settle` is executed.
        downtime_ms: The measured downtime in milliseconds; None: the job did not stop, or it is not known.
    """

    def __init__(
        self,
        project: Project,
        planned: Planned,
        flink: FlinkClient,
        compiler: Compiler,
        holder: str,
        log: Log,
        *,
        approval: Approval | None = None,
        note: str | None = None,
        is_gone: Callable[[str], bool] = is_gone,
    ) -> None:
        self._project = project
        self._planned = planned
        self._flink = flink
        self._compiler = compiler
        self._holder = holder
        self._log = log
        self._approval = approval
        self._note = note
        self._is_gone = is_gone
        self._begun: OperationHandle | None = None
        self._started: Started | None = None
        self.outcome = Outcome.FAILED
        self.downtime_ms: int | None = None

    def start(self) -> Started:
        """Begin the operation, and execute the stages before `Verify`; the job.

        Raises:
            RefusedError: an approval is missing, or is of another plan; nothing was changed.
            BusyError: another operation holds the job's lock.
            ChangedError: another operation has changed the job after planning; a new plan may succeed.
            StopFailedError: the old job keeps running.
            SluiceError: another failure; the journal says which stages were done (see `roll_back`).
        """
        plan = self._planned.plan
        if not self._has_begun_approved():
            refuse_unapproved(plan, self._approval)
        todo = list(takewhile(_is_before_verify, plan.stages))
        if self._planned.target.number is None:
            # The first stage, `AddRelease`, begins the operation.
            self.run(todo.pop(0))
        else:
            self._begin()
        try:
            for stage in todo:
                self.run(stage)
        except UnreachableError:
            # A later attempt continues from the journal.
            raise
        except RefusedError as error:
            if isinstance(error, BusyError) and not isinstance(error, ChangedError):
                # Another process continues the operation.
                raise
            if self._operation.is_touched:
                # Too late to refuse: the job was stopped, and must be started again.
                raise OperationError(error.message, remedy=error.remedy) from error
            self._operation.finish(Outcome.FAILED, str(error))
            raise
        except StopFailedError as error:
            self._operation.finish(Outcome.FAILED, str(error))
            raise
        return self.started

    def finish(self) -> None:
        """Execute `Verify` and `Settle`, which set `outcome` and `downtime_ms`.

        Raises:
            GatesFailedError: the job does not pass a gate.
            NotSettledError: it has passed, and the operation could not be ended.
            BusyError: another process has taken over the operation.
        """
        for stage in dropwhile(_is_before_verify, self._planned.plan.stages):
            self.run(stage)

    def run(self, stage: stages.Stage) -> None:
        """Execute one stage; the stages of a plan in their order."""
        match stage:
            case stages.AddRelease():
                self._begin()
            case stages.CreateTopics():
                self._create_topics(stage)
            case stages.Prepare():
                self._prepare()
            case stages.Stop():
                self._stop(stage)
            case stages.Start():
                self._start(stage)
            case stages.Record():
                self._record()
            case stages.Verify():
                self._verify()
            case stages.Settle():
                self._settle()

    def _has_begun_approved(self) -> bool:
        """Whether this holder has stopped the job for this same target with an approval, and now continues."""
        ledger, plan = self._project.ledger, self._planned.plan
        active, place = ledger.active(plan.job), ledger.placement(plan.job)
        if active is None or active.holder != self._holder or active.approved_by is None:
            return False
        begun = active.plan or {}
        is_the_same = (begun.get("kind"), begun.get("fingerprint")) == (plan.kind, plan.fingerprint)
        if plan.gives_up and not Plan.model_validate(begun).gives_up:
            return False
        return is_the_same and place is not None and place.phase in (Phase.STOPPING, Phase.STOPPED)

    @property
    def started(self) -> Started:
        """The job after the stages before `Verify`."""
        if self._started is None:
            self._started = self._read_started()
        return self._started

    @property
    def _operation(self) -> OperationHandle:
        if self._begun is None:
            raise RuntimeError("the stages of a plan are executed in order: the first one begins the operation")
        return self._begun

    def _begin(self) -> None:
        """Begin the operation. A release that the ledger does not have is added in the same transaction."""
        plan, target = self._planned.plan, self._planned.target
        given = self._approval if plan.needs_approval else None
        self._begun = self._project.ledger.begin(
            plan.job,
            kind=plan.kind,
            holder=self._holder,
            release=self._new_release(target) if target.number is None else target.number,
            is_gone=self._is_gone,
            details={
                "former_release": plan.former_release,
                "mode": plan.mode and plan.mode.value,
                "note": self._note,
                "plan": plan.model_dump(mode="json"),
                "approved_by": given.by if given else None,
                "approved_at": given.at if given else None,
            },
            planned_for=self._planned.planned_for,
        )
        if target.number is None:
            self._log(f"release {self._begun.row.release}: artifact {target.artifact[:12]}")

    def _new_release(self, target: Target) -> NewRelease:
        graph = self._planned.graph
        return NewRelease(
            fingerprint=target.fingerprint,
            artifact=target.artifact,
            module=target.module,
            resolved=target.resolved,
            overrides=target.overrides,
            graph=graph.digest if graph else None,
            meanings=target.meanings,
            health=target.desired.health.model_dump(mode="json") if target.desired else None,
            operators=kept_values(graph) if graph else None,
        )

    def _create_topics(self, stage: stages.CreateTopics) -> None:
        self._project.brokers.apply(stage.steps)
        for step in stage.steps:
            self._log(step.words)

    def _prepare(self) -> None:
        """Let the client hold the compiled release; it has compiled it for the plan, unless it was ended since."""
        graph = self._compiler.prepare(self._planned.target, carry_over=self._planned.carry_over).graph
        self._operation.record("prepare", "ready", graph=graph.digest)

    def _stop(self, stage: stages.Stop) -> None:
        operation, place = self._operation, self._place()
        gives_up = stage.mode == StopMode.CANCEL and self._planned.plan.gives_up
        if place.phase == Phase.RUNNING or gives_up:
            self._log(stage.words)
            request = CancelWithoutState(self._last_positions(place)) if gives_up else self._stop_request(stage)
            operation.record("stop", "stop", transition=request, flink_job_id=place.flink_job_id, mode=stage.mode)
            place = self._place()
        elif place.phase != (phase := self._phase(stage)):
            # The stop was requested for another purpose.
            operation.record("stop", "stop", transition=ChangePurpose(phase), flink_job_id=place.flink_job_id)
            place = self._place()
        operation.renew_lease()
        directories = directories_at(self._project, self._flink, place)
        stop = Stop(self._flink, self._compiler, directories, self._project.environment, self._log)
        try:
            path = stop.complete(place)
        except StopFailedError as error:
            record_failed(operation, error)
            raise
        savepoint = path if is_savepoint(place, path) else None
        if savepoint is not None:
            # Record it before the journal says that the job has stopped: a retry would skip this stage then.
            operation.add_savepoint(savepoint, release=place.release, flink_job_id=place.flink_job_id)
        elif path is not None and takes_savepoint(place):
            self._log("the job ended before its savepoint was complete: its newest checkpoint is used instead")
        # Read the positions again: the job may have run on between the request and its cancellation.
        positions = self._last_positions(place) if path is None and is_state_given_up(place) else None
        operation.record(
            "stop",
            "stopped",
            transition=Stopped(
                Phase.SUSPENDED if stage.suspend else Phase.STOPPED,
                path,
                carried_over=place.carried_over and path is None,
                positions=positions,
            ),
            flink_job_id=place.flink_job_id,
            path=path,
            savepoint=savepoint,
        )
        operation.update(savepoint=savepoint)
        self._log(f"stopped Flink job {place.flink_job_id}: {path or 'it had no state'}")

    @staticmethod
    def _phase(stage: stages.Stop) -> Phase:
        """The phase during the stop: a suspension stays one, also if another process completes it."""
        return Phase.SUSPENDING if stage.suspend else Phase.STOPPING

    def _stop_request(self, stage: stages.Stop) -> RequestStop:
        """The stop to record in the placement before it is requested, so that a later attempt can complete it."""
        trigger, directory = uuid.uuid4().hex, None
        if stage.mode != StopMode.LAST_STATE:
            # Use the new release's directory: a wrong directory may be the reason for this deploy.
            directories = Directories(self._flink, self._planned.target.resolved["options"])
            directory = directories.savepoints(self._project.environment, self._planned.plan.job, trigger)
        return RequestStop(self._phase(stage), stage.mode, trigger, directory)

    def _start(self, stage: stages.Start) -> None:
        place = self._project.ledger.placement(self._planned.plan.job)
        path, positions, carry_over = self._begins(stage, place)
        if carry_over and not self._planned.carry_over:
            self._compiler.prepare(self._planned.target, carry_over=True)
        start = Start(
            self._project,
            self._flink,
            self._compiler,
            self._operation,
            self._log,
            confirms_loss=self._planned.confirms_loss,
        )
        start.run(self._operation.row.release, state_path=path, positions=positions, carry_over=carry_over)

    def _begins(
        self, stage: stages.Start, place: Placement | None
    ) -> tuple[str | None, Mapping[str, Mapping[Any, int]] | None, bool]:
        """The state from which the job starts, its positions, and whether only the positions are used."""
        if stage.source == "group" and place is not None:
            # Its state can't be read.
            return None, self._last_positions(place), True
        path = place.state_path if place else None
        if place is not None and place.phase == Phase.RUNNING:
            path = state_at_placement(self._project, self._flink, self._compiler, place)
        # A job that started without state may have left none: its successor starts at the same positions.
        carry_over = stage.source == "offsets" or bool(place and place.carried_over and path is None)
        if place is None:
            carry_over = self._planned.carry_over
        if carry_over and place is not None and path is None:
            return place.state_path, place.positions, carry_over
        return path, self._compiler.inspect(path).positions if path else None, carry_over

    def _last_positions(self, place: Placement) -> dict[str, dict[str, int]]:
        topics = topics_of(self._planned.target.resolved)
        return last_positions(self._project, place, topics)

    def _record(self) -> None:
        """Record the running job as the new release, which has the same job graph."""
        release = self._operation.row.release
        self._operation.record("record", "recorded", transition=RecordRelease(release))
        self._log(f"recorded as release {release}: it compiles to the job graph that is running")

    def _verify(self) -> None:
        # The client process takes half a gigabyte, and the gates may take minutes.
        self._compiler.close()
        problem = asyncio.run(pass_gates(self._project, self._operation, self.started, self._log))
        if problem is not None:
            raise GatesFailedError(problem)

    def _settle(self) -> None:
        started, job = self.started, self._planned.plan.job
        try:
            self.outcome, self.downtime_ms = settle(self._project, self._flink, self._operation, started, self._log)
        except SluiceError as error:
            runs = started.flink_job_id is not None
            state = "it runs and has passed its gates" if runs else "it is suspended"
            raise NotSettledError(
                f"{job}: {state}, but the operation could not be completed: {error}",
                remedy=f"run sluice {'deploy' if runs else 'suspend'} {job} again to complete the operation",
            ) from error

    def _place(self) -> Placement:
        place = self._project.ledger.placement(self._planned.plan.job)
        if place is None:
            raise OperationError(f"{self._planned.plan.job}: the ledger has no placement of the job")
        return place

    def _read_started(self) -> Started:
        operation, place = self._operation, self._place()
        stopped, submitted = operation.entry("stop", "stopped"), operation.entry("start", "submit")
        suspended = place.phase == Phase.SUSPENDED
        columns = {"flink_job_id": place.flink_job_id, "restored_from": None if suspended else place.restored_from}
        operation.update(**columns)
        return Started(
            operation=operation.id,
            release=operation.row.release,
            flink_job_id=None if suspended else place.flink_job_id,
            restored_from=columns["restored_from"],
            unchanged=submitted is None and stopped is None and self._planned.plan.action == Action.NONE,
            recorded=self._planned.plan.action == Action.RECORD,
            savepoint=stopped["savepoint"] if stopped else None,
            positions=None if suspended else place.positions,
            former_job_id=stopped["flink_job_id"] if stopped else None,
            counts=bool(submitted and submitted.get("generated_code", 1) >= COUNTS),
        )


def _is_before_verify(stage: stages.Stage) -> bool:
    return not isinstance(stage, stages.Verify | stages.Settle)
