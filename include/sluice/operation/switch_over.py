"""Doing a plan up to the point where the job runs: the stages, each journalled before its effect.

A retry plans anew from where the ledger and the cluster say that the job is, and goes on with the same operation.
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
Tell = Callable[[str], None]
"""Where progress goes, a line at a time."""


@dataclass(frozen=True)
class Started:
    """A job that runs, or is about to, or was suspended.

    Attributes:
        unchanged: This operation started nothing.
        recorded: A new release was entered for the job that runs.
        flink_job_id: None: it was suspended.
        restored_from: The savepoint or checkpoint that it started from.
        positions: Per topic and partition the next offset of the state that it was started from.
        former_job_id: The Flink job that was stopped for it.
        counts: Its reads count what they leave out, as they do since version 2 of the code that Sluice generates.
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


def retry_on_conflict(attempt: Callable[[], T], tell: Tell) -> T:
    """Plan and switch over; once more where the job has changed since it was planned: what is asked for may still hold.

    Raises:
        ChangedError: it has changed a second time.
    """
    try:
        return attempt()
    except ChangedError as error:
        tell(f"{error.message}: planned anew")
    return attempt()


def is_touched(operation: OperationHandle) -> bool:
    """Whether the operation has begun to stop or to start a job."""
    return any(operation.entry(stage, event) for stage, event in TOUCHES)


class SwitchOver:
    """Does a plan's stages up to the start.

    Args:
        project: The project.
        planned: The plan.
        flink: The cluster.
        compiler: The client that the plan was made with.
        holder: Who does it; the same holder goes on with its own operation after a crash.
        tell: Where progress goes.
        approval: Who has approved that state is lost, and of which plan; None: nobody has.
        note: The reason that was given.
        is_gone: Whether another holder is known to have ended.
        admin: The brokers; None: by the project's own configuration.
    """

    def __init__(
        self,
        project: Project,
        planned: Planned,
        flink: FlinkClient,
        compiler: Compiler,
        holder: str,
        tell: Tell,
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
        self._tell = tell
        self._approval = approval
        self._note = note
        self._is_gone = is_gone
        self._admin = admin

    def run(self) -> Started:
        """Do the stages before `Verify`.

        Raises:
            RefusedError: an approval is missing, or was given to another plan; nothing was touched.
            BusyError: another operation holds the job.
            ChangedError: another one has come and gone since it was planned; planned anew, it may be done.
            StopFailedError: the old job runs on.
            SluiceError: another failure; the journal says how far it came (see `roll_back`).
        """
        plan = self._planned.plan
        if not self._has_begun_approved():
            refuse_unapproved(plan, self._approval)
        operation = self._begin()
        try:
            for stage in plan.stages:
                self._do(stage, operation)
        except UnreachableError:
            # A later attempt goes on; the journal says from where.
            raise
        except RefusedError as error:
            if isinstance(error, BusyError) and not isinstance(error, ChangedError):
                # Another process goes on with it.
                raise
            if is_touched(operation):
                # Too late to refuse: what was stopped must come back.
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
        """Whether this holder has stopped the job for this very target, as was approved, and goes on with that."""
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
            self._tell(f"release {operation.row.release}: artifact {target.artifact[:12]}")
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
                # Entered when the operation began; proven and settled once the job runs.
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
            self._tell(step.words)

    def _stop(self, stage: stages.Stop, operation: OperationHandle) -> None:
        place = self._place()
        gives_up = stage.mode == "cancel" and self._planned.plan.gives_up
        if place.phase == "running" or gives_up:
            self._tell(stage.words)
            request = CancelWithoutState(self._last_positions(place)) if gives_up else self._stop_request(stage)
            operation.record("stop", "stop", transition=request, flink_job_id=place.flink_job_id, mode=stage.mode)
            place = self._place()
        elif place.phase != (phase := self._phase(stage)):
            # It was begun for another end.
            operation.record("stop", "stop", transition=ChangePurpose(phase), flink_job_id=place.flink_job_id)
            place = self._place()
        operation.prove()
        directories = directories_at(self._project, self._flink, place)
        stop = Stop(self._flink, self._compiler, directories, self._project.environment, self._tell)
        try:
            path = stop.complete(place)
        except StopFailedError as error:
            record_failed(operation, error)
            raise
        savepoint = path if is_savepoint(place, path) else None
        if savepoint is not None:
            # Before the journal says that it has stopped: nobody would come back to this.
            operation.add_savepoint(savepoint, release=place.release, flink_job_id=place.flink_job_id)
        elif path is not None and takes_savepoint(place):
            self._tell("it ended before its savepoint was complete: its newest checkpoint takes the place of that")
        # It may have gone on between the two, for as long as nobody came to cancel it.
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
        self._tell(f"stopped Flink job {place.flink_job_id}: {path or 'it had no state'}")

    @staticmethod
    def _phase(stage: stages.Stop) -> Phase:
        """While it stops: what is to be suspended stays down, whoever goes on with that."""
        return "suspending" if stage.suspend else "stopping"

    def _stop_request(self, stage: stages.Stop) -> RequestStop:
        """What the placement holds of a stop that is about to begin, so that a later attempt can complete it."""
        trigger, directory = uuid.uuid4().hex, None
        if stage.mode != "last-state":
            # Where the new release's options say: an old directory may be why it is deployed.
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
            self._tell,
            confirms_loss=self._planned.confirms_loss,
        )
        start.run(operation.row.release, state_path=path, positions=positions, carry_over=carry_over)

    def _begins(
        self, stage: stages.Start, place: Placement | None
    ) -> tuple[str | None, Mapping[str, Mapping[Any, int]] | None, bool]:
        """The state from which the job starts, its positions, and whether they alone go on."""
        if stage.source == "group" and place is not None:
            # Nothing can be read of its state.
            return None, self._last_positions(place), True
        path = place.state_path if place else None
        if place is not None and place.phase == "running":
            path = state_at_placement(self._project, self._flink, self._compiler, place)
        # Where even a job that began without state has left none, its successor begins where it did.
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
        """The job that runs is the new release's: the graph is the same."""
        operation.record("record", "recorded", transition=RecordRelease(operation.row.release))
        self._tell(f"recorded as release {operation.row.release}: it compiles to the graph that runs")

    def _place(self) -> Placement:
        place = self._project.ledger.placement(self._planned.plan.job)
        if place is None:
            raise OperationError(f"{self._planned.plan.job}: the ledger has lost where the job stands")
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
