"""Execute a plan up to the start of the job. Each stage is journalled before its effect.

A retry makes a new plan from the ledger and the cluster, and continues the same operation.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from confluent_kafka.admin import AdminClient

from sluice.compiler import Compiler
from sluice.errors import BusyError, ChangedError, OperationError, RefusedError, UnreachableError
from sluice.flink.client import FlinkClient
from sluice.kafka import topics
from sluice.kafka.brokers import connect
from sluice.ledger.ledger import NewRelease
from sluice.ledger.operation_handle import TOUCHES, OperationHandle
from sluice.ledger.tables import Phase, Placement
from sluice.ledger.transitions import CancelWithoutState, ChangePurpose, RecordRelease, RequestStop, Stopped
from sluice.operation.holder import is_gone
from sluice.operation.start import Start
from sluice.operation.stop import Stop, StopFailedError, record_failed
from sluice.plan import stages
from sluice.plan.approval import Approval, refuse_unapproved
from sluice.plan.model import Plan
from sluice.plan.planner import Planned
from sluice.project import Project
from sluice.release.target import Target
from sluice.release.versions import COUNTS
from sluice.state.after_stop import is_savepoint, takes_savepoint
from sluice.state.directories import Directories, directories_at
from sluice.state.latest import state_at_placement
from sluice.state.offsets import topics_of
from sluice.state.operators import kept_values
from sluice.state.state_loss import is_state_given_up, last_positions

T = TypeVar("T")
Log = Callable[[str], None]
"""Receives progress, one line per call."""


@dataclass(frozen=True)
class Started:
    """A job after the stages of a plan: started, unchanged or suspended.

    Attributes:
        flink_job_id: Its Flink job; None: it was suspended.
        restored_from: The savepoint or checkpoint that it was restored from.
        unchanged: This operation started no Flink job.
        recorded: A new release was recorded for the running job.
        positions: The next offset of the state that it was restored from, per topic and partition.
        former_job_id: The Flink job that was stopped for it.
        counts: Its reads count the records that they skip, as generated code does since version 2.
    """

    operation: str
    release: int
    flink_job_id: str | None
    restored_from: str | None
    unchanged: bool
    recorded: bool = False
    savepoint: str | None = None
    positions: Mapping[str, Any] | None = None
    former_job_id: str | None = None
    counts: bool = False


def retry_on_conflict(attempt: Callable[[], T], log: Log) -> T:
    """Plan and switch over. Do both once more if the job has changed after planning: the request may still apply.

    Raises:
        ChangedError: the job has changed a second time.
    """
    try:
        return attempt()
    except ChangedError as error:
        log(f"{error.message}: planning again")
    return attempt()


def is_touched(operation: OperationHandle) -> bool:
    """Whether the operation has begun to stop or to start a job."""
    return any(operation.entry(stage, event) for stage, event in TOUCHES)


class SwitchOver:
    """Executes the stages of a plan up to the start.

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
        admin: A client of the brokers; None: one with the project's configuration.
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
        admin: AdminClient | None = None,
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
        self._admin = admin

    def run(self) -> Started:
        """Execute the stages before `Verify`.

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
        operation = self._begin()
        try:
            for stage in plan.stages:
                self._do(stage, operation)
        except UnreachableError:
            # A later attempt continues from the journal.
            raise
        except RefusedError as error:
            if isinstance(error, BusyError) and not isinstance(error, ChangedError):
                # Another process continues the operation.
                raise
            if is_touched(operation):
                # Too late to refuse: the job was stopped, and must be started again.
                raise OperationError(error.message, remedy=error.remedy) from error
            operation.finish("failed", str(error))
            raise
        except StopFailedError as error:
            operation.finish("failed", str(error))
            raise
        if plan.action == "record":
            self._record(operation)
        return self._started(operation)

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
        return is_the_same and place is not None and place.phase in ("stopping", "stopped")

    def _begin(self) -> OperationHandle:
        plan, target = self._planned.plan, self._planned.target
        given = self._approval if plan.needs_approval else None
        operation = self._project.ledger.begin(
            plan.job,
            kind=plan.kind,
            holder=self._holder,
            release=self._new_release(target) if target.number is None else target.number,
            is_gone=self._is_gone,
            details={
                "former_release": plan.former_release,
                "mode": plan.mode,
                "note": self._note,
                "plan": plan.model_dump(mode="json"),
                "approved_by": given.by if given else None,
                "approved_at": given.at if given else None,
            },
            stand=self._planned.stand,
        )
        if target.number is None:
            self._log(f"release {operation.row.release}: artifact {target.artifact[:12]}")
        return operation

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

    def _do(self, stage: stages.Stage, operation: OperationHandle) -> None:
        match stage:
            case stages.CreateTopics():
                self._create_topics()
            case stages.AddRelease() | stages.Verify() | stages.Settle():
                # The release was added when the operation began; verifying and settling follow the start.
                pass
            case stages.Prepare():
                operation.record("prepare", "ready", graph=self._planned.graph.digest if self._planned.graph else None)
            case stages.Stop():
                self._stop(stage, operation)
            case stages.Start():
                self._start(stage, operation)

    def _create_topics(self) -> None:
        admin = self._admin or connect(self._project.kafka)
        topics.apply(admin, self._planned.steps, self._project.kafka_servers)
        for step in self._planned.steps:
            self._log(step.words)

    def _stop(self, stage: stages.Stop, operation: OperationHandle) -> None:
        place = self._place()
        gives_up = stage.mode == "cancel" and self._planned.plan.gives_up
        if place.phase == "running" or gives_up:
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
                "suspended" if stage.suspend else "stopped",
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
        return "suspending" if stage.suspend else "stopping"

    def _stop_request(self, stage: stages.Stop) -> RequestStop:
        """The stop to record in the placement before it is requested, so that a later attempt can complete it."""
        trigger, directory = uuid.uuid4().hex, None
        if stage.mode != "last-state":
            # Use the new release's directory: a wrong directory may be the reason for this deploy.
            directories = Directories(self._flink, self._planned.target.resolved["options"])
            directory = directories.savepoints(self._project.environment, self._planned.plan.job, trigger)
        return RequestStop(self._phase(stage), stage.mode, trigger, directory)

    def _start(self, stage: stages.Start, operation: OperationHandle) -> None:
        place = self._project.ledger.placement(self._planned.plan.job)
        path, positions, carry_over = self._begins(stage, place)
        if carry_over and not self._planned.carry_over:
            self._compiler.prepare(self._planned.target, carry_over=True)
        start = Start(
            self._project,
            self._flink,
            self._compiler,
            operation,
            self._log,
            confirms_loss=self._planned.confirms_loss,
        )
        start.run(operation.row.release, state_path=path, positions=positions, carry_over=carry_over)

    def _begins(
        self, stage: stages.Start, place: Placement | None
    ) -> tuple[str | None, Mapping[str, Mapping[Any, int]] | None, bool]:
        """The state from which the job starts, its positions, and whether only the positions are used."""
        if stage.source == "group" and place is not None:
            # Its state can't be read.
            return None, self._last_positions(place), True
        path = place.state_path if place else None
        if place is not None and place.phase == "running":
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
        return last_positions(self._project, place, topics, self._admin or connect(self._project.kafka))

    def _record(self, operation: OperationHandle) -> None:
        """Record the running job as the new release, which has the same job graph."""
        operation.record("record", "recorded", transition=RecordRelease(operation.row.release))
        self._log(f"recorded as release {operation.row.release}: it compiles to the job graph that is running")

    def _place(self) -> Placement:
        place = self._project.ledger.placement(self._planned.plan.job)
        if place is None:
            raise OperationError(f"{self._planned.plan.job}: the ledger has no placement of the job")
        return place

    def _started(self, operation: OperationHandle) -> Started:
        place = self._place()
        stopped, submitted = operation.entry("stop", "stopped"), operation.entry("start", "submit")
        suspended = place.phase == "suspended"
        columns = {"flink_job_id": place.flink_job_id, "restored_from": None if suspended else place.restored_from}
        operation.update(**columns)
        return Started(
            operation=operation.id,
            release=operation.row.release,
            flink_job_id=None if suspended else place.flink_job_id,
            restored_from=columns["restored_from"],
            unchanged=submitted is None and stopped is None and self._planned.plan.action == "none",
            recorded=self._planned.plan.action == "record",
            savepoint=stopped["savepoint"] if stopped else None,
            positions=None if suspended else place.positions,
            former_job_id=stopped["flink_job_id"] if stopped else None,
            counts=bool(submitted and submitted.get("generated_code", 1) >= COUNTS),
        )
