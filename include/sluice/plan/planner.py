"""Makes a plan: compares the desired state with the actual one. It writes only into the artifact store."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from sluice.client.protocol import Graph
from sluice.deployment.secrets import redact_release
from sluice.errors import RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.kafka.topic_steps import Step
from sluice.ledger.placement_version import PlacementVersion
from sluice.ledger.tables import Placement, Release
from sluice.ledger.values import StopMode
from sluice.plan import changes as differences
from sluice.plan import checks, stages
from sluice.plan.builder import PlanBuilder
from sluice.plan.hand_over import HandOver, hand_over_of
from sluice.plan.model import Action, Category, Change, Mode, Plan
from sluice.plan.request import DeployRequest
from sluice.plan.target import wanted_target
from sluice.plan.topics import topic_steps
from sluice.project import Project
from sluice.release.artifact import artifact_file
from sluice.release.compiler import Compiler
from sluice.release.target import Target
from sluice.state import compatibility as state
from sluice.state.change import StateChange
from sluice.state.directories import Directories
from sluice.state.locate import find
from sluice.state.offsets import Continuity, topics_from_latest, topics_of
from sluice.state.situation import Absent, Lost, Runs, Situation, Stopped, Stopping, Suspended, may_hold_state
from sluice.state.state_loss import last_positions
from sluice.state.successor import SuccessorState
from sluice.state.writer import written_operators


@dataclass(frozen=True)
class Planned:
    """A plan with the values that carrying it out needs.

    Attributes:
        graph: The compiled graph of the target; None: it wasn't compiled.
        carry_over: The target was compiled to start without state, from the committed offsets of its group.
        planned_for: The version of the placement for which the plan is valid; None: any.
        confirms_loss: A person has confirmed that nothing of the job runs on the cluster where it was started.
    """

    plan: Plan
    target: Target
    graph: Graph | None
    carry_over: bool = False
    planned_for: PlacementVersion | None = None
    confirms_loss: bool = False


class Planner:
    """Plans one operation of one job.

    Args:
        project: The project.
        job: The job's name.
        request: The request.
        flink: The cluster.
        compiler: Compiles the target if the plan needs its graph.
        compiles_always: False: a job that never ran, or is started again with an unchanged release, isn't compiled for
            the plan, since the graph would add nothing to it.
    """

    def __init__(
        self,
        project: Project,
        job: str,
        request: DeployRequest,
        flink: FlinkClient,
        compiler: Compiler,
        *,
        compiles_always: bool = True,
    ) -> None:
        self._project = project
        self._job = job
        self._request = request
        self._flink = flink
        self._compiler = compiler
        self._compiles_always = compiles_always
        self._draft = PlanBuilder(project.ledger, job, request, project.exposed_logins)
        self._held = SuccessorState(project, flink, compiler)

    def plan(self) -> Planned:
        """Make the plan.

        Raises:
            RefusedError: the request can't be carried out, with the reason; nothing was changed.
            UnreachableError: the cluster or the broker doesn't answer.
        """
        # Read before everything else, so that the operation notices any later change of the placement.
        place = self._project.ledger.placement(self._job)
        confirms_loss = self._request.confirm_lost_cluster
        return replace(self._planned(place), planned_for=PlacementVersion.of(place), confirms_loss=confirms_loss)

    def _planned(self, place: Placement | None) -> Planned:
        job, ledger = self._job, self._project.ledger
        confirms_loss = self._request.confirm_lost_cluster
        situation = find(self._project, self._flink, job, place, confirms_loss=confirms_loss)
        former = ledger.release(job, place.release) if place else None
        active = ledger.active(job)
        checks.refuse_suspended(job, self._request, situation, active)
        if active is None:
            # A retry finds the release that its own first try has placed.
            checks.check_expected_release(job, self._request, place)
        target = wanted_target(self._project, job, self._request, former)
        if former and former.fingerprint == target.fingerprint:
            # Its number is known. The newest release may be another one, which was rolled back.
            target = replace(target, number=former.number)
        steps = self._topic_steps(target)
        if self._request.kind == "suspend":
            return self._suspension(situation, target)
        if isinstance(situation, Runs) and former and former.fingerprint == target.fingerprint:
            checks.refuse_without_change(self._job, self._request, active, former)
            reasons = ("it runs this release", *checks.unused_mode(self._request))
            runs = self._draft.plan(Action.NONE, Category.NONE, situation, target, steps, reasons=reasons)
            return Planned(runs, target, None)
        if not self._compiles_always and self._request.mode is None:
            if isinstance(situation, Absent):
                doing = self._doing(situation, StopMode.SAVEPOINT, abandons=False, carry_over=False)
                start = self._draft.plan(Action.START, Category.STATELESS, situation, target, steps, doing=doing)
                return Planned(start, target, None)
            if (
                isinstance(situation, Lost | Stopped | Suspended)
                and former
                and former.fingerprint == target.fingerprint
                # Only the checkpoints of a job that started without state show whether it has state by now.
                and not situation.place.carried_over
            ):
                return self._return(situation, target, steps)
        return self._replacement(situation, former, target, steps)

    def _return(self, situation: Lost | Stopped | Suspended, target: Target, steps: tuple[Step, ...]) -> Planned:
        """A start of the release that ran before."""
        plan = self._draft.plan(
            Action.START if isinstance(situation, Suspended) else Action.RECOVER,
            Category.STATE_COMPATIBLE,
            situation,
            target,
            steps,
            doing=self._doing(situation, StopMode.SAVEPOINT, abandons=False, carry_over=False),
        )
        return Planned(plan, target, None)

    def _topic_steps(self, target: Target) -> tuple[Step, ...]:
        if target.desired is None:
            return ()
        return topic_steps(
            self._project.brokers,
            target.desired,
            grow_partitions=self._request.grow_partitions,
            change_settings=self._request.change_topics,
        )

    def _suspension(self, situation: Situation, target: Target) -> Planned:
        if isinstance(situation, Suspended):
            plan = self._draft.plan(
                Action.NONE, Category.NONE, situation, target, (), reasons=("it is suspended already",)
            )
            return Planned(plan, target, None)
        if not isinstance(situation, Runs | Stopping):
            has_file = self._job in self._project.catalog.jobs
            further = "" if has_file else f"; its file was removed: to take it off the list, sluice forget {self._job}"
            raise RefusedError(f"{self._job} does not run", remedy=f"see sluice status {self._job}{further}")
        hand_over = self._hand_over(situation, self._request.mode or Mode.SAVEPOINT)
        mode = hand_over.mode
        if not hand_over.is_chosen:
            self._check_mode(situation, mode, target)
        stop = stages.Stop(flink_job_id=situation.place.flink_job_id, mode=StopMode(mode), suspend=True)
        plan = self._draft.plan(
            Action.SUSPEND,
            Category.STATE_COMPATIBLE,
            situation,
            target,
            (),
            mode=mode,
            doing=(stop,),
            reasons=hand_over.reasons,
        )
        return Planned(plan, target, None)

    def _replacement(
        self, situation: Situation, former: Release | None, target: Target, steps: tuple[Step, ...]
    ) -> Planned:
        changed = self._changes(former, target)
        breaking = [change for change in changed if change.category == Category.STATE_BREAKING]
        checks.refuse_mode(self._job, self._request, breaking)
        hand_over = self._hand_over(situation, self._request.mode or (Mode.STATELESS if breaking else Mode.SAVEPOINT))
        mode = hand_over.mode
        if isinstance(situation, Runs):
            situation = replace(situation, is_whole=situation.is_whole and not hand_over.reasons)
        abandons = mode == Mode.STATELESS and not isinstance(situation, Absent)
        place = None if isinstance(situation, Absent) else situation.place
        carry_over = abandons or _begins_at_offsets(place, target)
        graph = self._compiler.prepare(target, carry_over=carry_over).graph
        # The graph contains a jar's name and not its content.
        has_other_jars = any(change.path.startswith("jars.") for change in changed)
        if not has_other_jars and self._compiles_to_the_same(situation, former, graph, abandons=abandons):
            plan = self._draft.plan(
                Action.RECORD,
                Category.METADATA,
                situation,
                target,
                steps,
                doing=(stages.Record(),),
                changes=changed,
                reasons=("the same graph",),
            )
            return Planned(plan, target, graph)
        # The client has started already, so that the newest checkpoint is still there when it is read.
        held, why_given_up = self._held.read_or_why(situation, abandons=abandons)
        unseen = None
        if held is None and (abandons or breaking) and may_hold_state(situation):
            # Its savepoint will hold its state and offsets, even if no checkpoint can be read now.
            unseen = f"its newest checkpoint can't be read: {why_given_up}" if why_given_up else _UNSEEN
            why_given_up = None
        if carry_over and not abandons and held is not None:
            carry_over = False
            graph = self._compiler.prepare(target, carry_over=False).graph
        change = state.compare(held, graph)
        if change.dropped and not abandons:
            raise checks.state_would_be_lost(self._job, self._request.kind, change)
        checks.check_max_parallelism(self._job, None if abandons else held, graph)
        how, why_given_up = self._how_to_stop(situation, mode, why_given_up)
        if isinstance(situation, Runs | Stopping):
            if how == StopMode(mode) and not hand_over.is_chosen:
                self._check_mode(situation, mode, target)
            checks.check_slots(self._flink, self._directories(target), situation, graph)
        if changed and not abandons:
            change = self._by_meaning(
                change, place, graph, writes=isinstance(situation, Runs) and how == StopMode.SAVEPOINT
            )
        positions: Mapping[str, Mapping[Any, int]] = held.positions if held else {}
        if why_given_up is not None and place is not None:
            positions = last_positions(self._project, place, topics_of(target.resolved))
        continuity = self._check_positions(positions, target, abandons=abandons)
        plan = self._draft.plan(
            _action(situation),
            Category.STATE_BREAKING
            if why_given_up is not None or unseen is not None
            else differences.categorise(held, change, breaks=abandons or bool(breaking or change.altered)),
            situation,
            target,
            steps,
            mode=mode if isinstance(situation, Runs | Stopping) or abandons else None,
            changes=changed,
            state=state.fates(change, abandons=abandons, alters=bool(breaking)),
            doing=self._doing(
                situation, how, abandons=abandons, carry_over=carry_over, gives_up=why_given_up is not None
            ),
            reasons=tuple(
                filter(
                    None,
                    (
                        *hand_over.reasons,
                        unseen,
                        None if why_given_up is None else f"its state is abandoned, since {why_given_up}",
                        *(f"{change.path}: {change.why}" for change in breaking),
                        *state.reasons(change),
                        continuity.words_of_gone,
                    ),
                )
            ),
        )
        plan = self._with_a_way_back(plan, situation, former, target)
        return Planned(plan, target, graph, carry_over)

    def _with_a_way_back(self, plan: Plan, situation: Situation, former: Release | None, target: Target) -> Plan:
        """The plan, which needs an approval if the running release could not be run again."""
        # A job that isn't running has no release to go back to, and a rollback is the way back itself.
        if not isinstance(situation, Runs) or self._request.kind != "deploy":
            return plan
        why = checks.no_way_back(self._project, former, target)
        if why is None:
            return plan
        return plan.model_copy(update={"needs_approval": True, "no_way_back": why, "reasons": (*plan.reasons, why)})

    def _hand_over(self, situation: Situation, mode: Mode) -> HandOver:
        """How the job hands over: by the requested mode, or by its failures if the request has none."""
        if not isinstance(situation, Runs) or self._request.mode in (Mode.SAVEPOINT, Mode.LAST_STATE):
            return HandOver(mode)
        return hand_over_of(self._flink, situation, mode)

    def _by_meaning(self, change: StateChange, place: Placement | None, graph: Graph, *, writes: bool) -> StateChange:
        """What happens to the state that is kept, by what its operators compute."""
        if place is None or not change.kept:
            return change
        old = written_operators(self._project.ledger, self._flink, place, None if writes else self._held.path, graph)
        return state.compare_operators(change, old, graph)

    def _changes(self, former: Release | None, target: Target) -> list[Change]:
        if former is None or former.fingerprint == target.fingerprint:
            return []
        store = self._project.settings.artifacts
        old, new = (redact_release(values, target.config) for values in (former.resolved, target.resolved))
        found = [
            *differences.compare_values(old, new, target.meanings),
            *differences.compare_code(artifact_file(store, former.artifact), artifact_file(store, target.artifact)),
        ]
        return found or [differences.other_versions()]

    def _compiles_to_the_same(
        self, situation: Situation, former: Release | None, graph: Graph, *, abandons: bool
    ) -> bool:
        is_explicit = self._request.mode is not None or self._request.kind != "deploy"
        return bool(
            isinstance(situation, Runs)
            and former
            and former.graph == graph.digest
            # A graph that was compiled to start from committed offsets differs only in that.
            and not (abandons or is_explicit or situation.place.carried_over)
        )

    def _how_to_stop(self, situation: Situation, mode: Mode, why_given_up: str | None) -> tuple[StopMode, str | None]:
        """How the job is stopped, and why its state can't be read after the stop; None: it can.

        A job that abandons its state, and can't write a savepoint, is cancelled.
        """
        if isinstance(situation, Stopping) and (
            why_given_up is not None or situation.place.stop_mode == StopMode.CANCEL
        ):
            return StopMode.CANCEL, why_given_up
        if mode != Mode.STATELESS or not isinstance(situation, Runs) or situation.is_whole:
            return StopMode(mode), why_given_up
        place = situation.place
        if why_given_up is None and not self._flink.send(calls.checkpoint_config(place.flink_job_id)).is_retained:
            why_given_up = "its checkpoints are deleted when it is cancelled"
        return StopMode.LAST_STATE if why_given_up is None else StopMode.CANCEL, why_given_up

    def _check_mode(self, situation: Runs | Stopping, mode: Mode, target: Target) -> None:
        environment = self._project.environment
        checks.check_mode(self._flink, self._directories(target), environment, situation, mode)

    def _check_positions(
        self, positions: Mapping[str, Mapping[Any, int]], target: Target, *, abandons: bool
    ) -> Continuity:
        return checks.check_positions(
            self._job,
            positions,
            topics_of(target.resolved),
            self._project.brokers,
            abandons=abandons,
        )

    def _directories(self, target: Target) -> Directories:
        return Directories(self._flink, target.resolved["options"])

    @staticmethod
    def _doing(
        situation: Situation, how: StopMode, *, abandons: bool, carry_over: bool, gives_up: bool = False
    ) -> tuple[stages.Stage, ...]:
        start = stages.Start(source="group" if gives_up else "offsets" if abandons or carry_over else "stopped")
        match situation:
            case Runs(place, _) | Stopping(place, _):
                # A job that started without state may have some once it is stopped.
                if not gives_up:
                    start = stages.Start(source="offsets" if abandons else "stopped")
                return (stages.Prepare(), stages.Stop(flink_job_id=place.flink_job_id, mode=how), start)
            case Lost() if start.source == "stopped":
                start = stages.Start(source="checkpoint")
            case Absent():
                start = stages.Start(source="nothing")
        return (stages.Prepare(), start)


def _begins_at_offsets(place: Placement | None, target: Target) -> bool:
    """Whether the job starts without state, from the committed offsets of its group.

    True for the first start of a job that reads from `latest`: the topics' ends are committed to its group before it
    starts, so that a successor that finds no state starts from them as well.
    """
    if place is None:
        return bool(topics_from_latest(target.resolved))
    return place.carried_over and not place.had_checkpoint


_UNSEEN = "it has made no checkpoint yet: its state is unknown"


def _action(situation: Situation) -> Action:
    """The action of a plan that starts or restarts the job."""
    if isinstance(situation, Runs):
        return Action.REDEPLOY
    return Action.START if isinstance(situation, Absent | Suspended) else Action.RECOVER
