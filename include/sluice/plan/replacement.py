"""The plan of a start or restart whose target is compiled, and compared with the state that the job leaves."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from sluice.client.protocol import Graph
from sluice.ledger.tables import Placement
from sluice.ledger.values import StopMode
from sluice.plan import changes as differences
from sluice.plan import checks, stages
from sluice.plan.builder import PlanBuilder, Planned
from sluice.plan.model import Action, Category, Mode, Plan
from sluice.plan.request import DeployRequest
from sluice.plan.view import ClusterView
from sluice.release.compiler import Compiler
from sluice.release.target import Target
from sluice.state import compatibility
from sluice.state.change import StateChange
from sluice.state.offsets import topics_from_latest, topics_of
from sluice.state.situation import Absent, Runs, Situation, Stopping, Suspended, may_hold_state

_UNSEEN = "it has made no checkpoint yet: its state is unknown"


def plan_replacement(
    view: ClusterView, request: DeployRequest, target: Target, compiler: Compiler, builder: PlanBuilder
) -> Planned:
    """The plan that starts the target, from the state that the job leaves or will leave.

    Args:
        view: What was read of the job.
        request: The request.
        target: The release to start.
        compiler: Compiles the target.
        builder: Builds the plan.

    Raises:
        RefusedError: the request can't be carried out, with the reason; nothing was changed.
        UnreachableError: the cluster or the broker doesn't answer.
    """
    return _Replacement(view, request, target, compiler, builder).plan()


class _Replacement:
    def __init__(
        self, view: ClusterView, request: DeployRequest, target: Target, compiler: Compiler, builder: PlanBuilder
    ) -> None:
        self._view = view
        self._request = request
        self._target = target
        self._compiler = compiler
        self._builder = builder
        self._job = view.job

    def plan(self) -> Planned:
        view, target, former = self._view, self._target, self._view.former
        changed = differences.compare_releases(view.project.settings.artifacts, former, target)
        breaking = [change for change in changed if change.category == Category.STATE_BREAKING]
        checks.refuse_mode(self._job, self._request, breaking)
        hand_over = view.hand_over(
            self._request.mode, self._request.mode or (Mode.STATELESS if breaking else Mode.SAVEPOINT)
        )
        mode = hand_over.mode
        situation = view.situation
        if isinstance(situation, Runs):
            situation = replace(situation, is_whole=situation.is_whole and not hand_over.reasons)
        abandons = mode == Mode.STATELESS and not isinstance(situation, Absent)
        place = None if isinstance(situation, Absent) else situation.place
        carry_over = abandons or _begins_at_offsets(place, target)
        graph = self._compiler.prepare(target, carry_over=carry_over).graph
        # The graph contains a jar's name and not its content.
        has_other_jars = any(change.path.startswith("jars.") for change in changed)
        if not has_other_jars and self._compiles_to_the_same(graph, abandons=abandons):
            plan = self._builder.plan(
                Action.RECORD,
                Category.METADATA,
                doing=(stages.Record(),),
                changes=changed,
                reasons=("the same graph",),
            )
            return Planned(plan, target, graph)
        held, why_given_up = view.state(situation, abandons=abandons)
        unseen = None
        if held is None and (abandons or breaking) and may_hold_state(situation):
            # Its savepoint will hold its state and offsets, even if no checkpoint can be read now.
            unseen = f"its newest checkpoint can't be read: {why_given_up}" if why_given_up else _UNSEEN
            why_given_up = None
        if carry_over and not abandons and held is not None:
            carry_over = False
            graph = self._compiler.prepare(target, carry_over=False).graph
        change = compatibility.compare(held, graph)
        if change.dropped and not abandons:
            raise checks.state_would_be_lost(self._job, self._request.kind, change)
        checks.check_max_parallelism(self._job, None if abandons else held, graph)
        how, why_given_up = self._how_to_stop(situation, mode, why_given_up)
        if isinstance(situation, Runs | Stopping):
            if how == StopMode(mode) and not hand_over.is_chosen:
                checks.check_mode(view, target, mode)
            checks.check_slots(view.flink, view.directories(target), situation, graph)
        if changed and not abandons:
            by_savepoint = isinstance(situation, Runs) and how == StopMode.SAVEPOINT
            change = self._by_meaning(change, place, graph, by_savepoint=by_savepoint)
        positions: Mapping[str, Mapping[Any, int]] = held.positions if held else {}
        if why_given_up is not None and place is not None:
            positions = view.last_positions(place, target)
        continuity = checks.check_positions(
            self._job, positions, topics_of(target.resolved), view.brokers, abandons=abandons
        )
        reasons = (
            *hand_over.reasons,
            unseen,
            None if why_given_up is None else f"its state is abandoned, since {why_given_up}",
            *(f"{change.path}: {change.why}" for change in breaking),
            *compatibility.reasons(change),
            continuity.words_of_gone,
        )
        plan = self._builder.plan(
            _action(situation),
            Category.STATE_BREAKING
            if why_given_up is not None or unseen is not None
            else differences.categorise(held, change, breaks=abandons or bool(breaking or change.altered)),
            mode=mode if isinstance(situation, Runs | Stopping) or abandons else None,
            changes=changed,
            state=compatibility.fates(change, abandons=abandons, alters=bool(breaking)),
            doing=self._builder.start_stages(
                how, abandons=abandons, carry_over=carry_over, gives_up=why_given_up is not None
            ),
            reasons=tuple(reason for reason in reasons if reason),
        )
        return Planned(self._with_a_way_back(plan), target, graph, carry_over)

    def _with_a_way_back(self, plan: Plan) -> Plan:
        """The plan, which needs an approval if the running release could not be run again."""
        # A job that isn't running has no release to go back to, and a rollback is the way back itself.
        if not isinstance(self._view.situation, Runs) or self._request.kind != "deploy":
            return plan
        why = checks.no_way_back(self._view.project, self._view.former, self._target)
        if why is None:
            return plan
        return plan.model_copy(update={"needs_approval": True, "no_way_back": why, "reasons": (*plan.reasons, why)})

    def _by_meaning(
        self, change: StateChange, place: Placement | None, graph: Graph, *, by_savepoint: bool
    ) -> StateChange:
        """What happens to the state that is kept, by what its operators compute."""
        if place is None or not change.kept:
            return change
        old = self._view.written_operators(place, graph, by_savepoint=by_savepoint)
        return compatibility.compare_operators(change, old, graph)

    def _compiles_to_the_same(self, graph: Graph, *, abandons: bool) -> bool:
        situation, former = self._view.situation, self._view.former
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
        if why_given_up is None and not self._view.keeps_checkpoints(situation.place.flink_job_id):
            why_given_up = "its checkpoints are deleted when it is cancelled"
        return StopMode.LAST_STATE if why_given_up is None else StopMode.CANCEL, why_given_up


def _begins_at_offsets(place: Placement | None, target: Target) -> bool:
    """Whether the job starts without state, from the committed offsets of its group.

    True for the first start of a job that reads from `latest`: the topics' ends are committed to its group before it
    starts, so that a successor that finds no state starts from them as well.
    """
    if place is None:
        return bool(topics_from_latest(target.resolved))
    return place.carried_over and not place.had_checkpoint


def _action(situation: Situation) -> Action:
    """The action of a plan that starts or restarts the job."""
    if isinstance(situation, Runs):
        return Action.REDEPLOY
    return Action.START if isinstance(situation, Absent | Suspended) else Action.RECOVER
