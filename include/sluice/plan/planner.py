"""Making a plan: desired against actual. It reads, and writes nothing but content into the store of artifacts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from confluent_kafka.admin import AdminClient

from sluice.client.protocol import Graph
from sluice.compiler import Compiler
from sluice.deployment.secrets import redact_release
from sluice.errors import RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.kafka import topics
from sluice.kafka.brokers import connect
from sluice.ledger.placement_version import PlacementVersion
from sluice.ledger.tables import Placement, Release
from sluice.plan import changes as differences
from sluice.plan import checks, stages
from sluice.plan.builder import PlanBuilder
from sluice.plan.hand_over import HandOver, hand_over_of
from sluice.plan.model import Action, Change, Mode, Plan
from sluice.plan.request import Request
from sluice.plan.target import wanted_target
from sluice.plan.topics import topic_steps
from sluice.project import Project
from sluice.release.artifact import artifact_file
from sluice.release.target import Target
from sluice.state import compatibility as state
from sluice.state.change import StateChange
from sluice.state.directories import Directories
from sluice.state.locate import find
from sluice.state.offsets import Continuity, topics_from_latest, topics_of
from sluice.state.situation import Absent, Lost, Runs, Situation, Stopped, Stopping, Suspended
from sluice.state.state_loss import last_positions
from sluice.state.successor import SuccessorState
from sluice.state.writer import written_operators


@dataclass(frozen=True)
class Planned:
    """A plan with what it takes to do it.

    Attributes:
        steps: What the topics need.
        graph: What the target compiles to; None: it wasn't compiled.
        carry_over: It was compiled to begin without state, where its group stands.
        stand: Where the job stood: it is a plan for no other place. None: wherever it stands.
        confirms_loss: A person has confirmed that nothing of the job runs on the cluster where it was started.
    """

    plan: Plan
    target: Target
    steps: tuple[topics.Step, ...]
    graph: Graph | None
    carry_over: bool = False
    stand: PlacementVersion | None = None
    confirms_loss: bool = False


class Planner:
    """Plans one operation of one job.

    Args:
        project: The project.
        job: The job's name.
        request: What is asked for.
        flink: The cluster.
        compiler: Compiles when that is needed.
        admin: The brokers; None: by the project's own configuration.
        compiles_always: False: what there is nothing new to be said of is compiled when it is done, not for the plan: a
            job that never ran, or one that doesn't run and comes back as it was.
    """

    def __init__(
        self,
        project: Project,
        job: str,
        request: Request,
        flink: FlinkClient,
        compiler: Compiler,
        admin: AdminClient | None = None,
        *,
        compiles_always: bool = True,
    ) -> None:
        self._project = project
        self._job = job
        self._request = request
        self._flink = flink
        self._compiler = compiler
        self._admin = admin
        self._compiles_always = compiles_always
        self._draft = PlanBuilder(project.ledger, job, request, project.exposed_logins)
        self._held = SuccessorState(project, flink, compiler)

    def plan(self) -> Planned:
        """The plan.

        Raises:
            RefusedError: it can't be done, with the reason; nothing was touched.
            UnreachableError: the cluster or the broker doesn't answer.
        """
        # Read first of all: what changes later, the operation finds changed.
        place = self._project.ledger.placement(self._job)
        confirms_loss = self._request.confirm_lost_cluster
        return replace(self._planned(place), stand=PlacementVersion.of(place), confirms_loss=confirms_loss)

    def _planned(self, place: Placement | None) -> Planned:
        job, ledger = self._job, self._project.ledger
        confirms_loss = self._request.confirm_lost_cluster
        situation = find(self._project, self._flink, job, place, confirms_loss=confirms_loss)
        former = ledger.release(job, place.release) if place else None
        active = ledger.active(job)
        checks.refuse_suspended(job, self._request, situation, active)
        if active is None:
            # A retry finds what its own first try has placed.
            checks.check_expected_release(job, self._request, place)
        target = wanted_target(self._project, job, self._request, former)
        if former and former.fingerprint == target.fingerprint:
            # It has its number: the newest one may be another, which was gone back from.
            target = replace(target, number=former.number)
        steps = self._topic_steps(target)
        if self._request.kind == "suspend":
            return self._suspension(situation, target)
        if isinstance(situation, Runs) and former and former.fingerprint == target.fingerprint:
            checks.refuse_without_change(self._job, self._request, active, former)
            reasons = ("it runs this release", *checks.unused_mode(self._request))
            runs = self._draft.plan("none", "none", situation, target, steps, reasons=reasons)
            return Planned(runs, target, steps, None)
        if not self._compiles_always and self._request.mode is None:
            if isinstance(situation, Absent):
                doing = self._doing(situation, "savepoint", abandons=False, carry_over=False)
                start = self._draft.plan("start", "stateless", situation, target, steps, doing=doing)
                return Planned(start, target, steps, None)
            if (
                isinstance(situation, Lost | Stopped | Suspended)
                and former
                and former.fingerprint == target.fingerprint
                # Of a job that began without state only its checkpoints tell whether it has any by now.
                and not situation.place.carried_over
            ):
                return self._return(situation, target, steps)
        return self._replacement(situation, former, target, steps)

    def _return(self, situation: Lost | Stopped | Suspended, target: Target, steps: tuple[topics.Step, ...]) -> Planned:
        """It comes back as it was."""
        plan = self._draft.plan(
            "start" if isinstance(situation, Suspended) else "recover",
            "state_compatible",
            situation,
            target,
            steps,
            doing=self._doing(situation, "savepoint", abandons=False, carry_over=False),
        )
        return Planned(plan, target, steps, None)

    def _topic_steps(self, target: Target) -> tuple[topics.Step, ...]:
        if target.desired is None:
            return ()
        return topic_steps(
            self._project,
            target.desired,
            self._brokers,
            grow_partitions=self._request.grow_partitions,
            change_settings=self._request.change_topics,
        )

    def _suspension(self, situation: Situation, target: Target) -> Planned:
        if isinstance(situation, Suspended):
            plan = self._draft.plan("none", "none", situation, target, (), reasons=("it is suspended already",))
            return Planned(plan, target, (), None)
        if not isinstance(situation, Runs | Stopping):
            has_file = self._job in self._project.catalog.jobs
            further = "" if has_file else f"; its file was removed: to take it off the list, sluice forget {self._job}"
            raise RefusedError(f"{self._job} does not run", remedy=f"see sluice status {self._job}{further}")
        hand_over = self._hand_over(situation, self._request.mode or "savepoint")
        mode = hand_over.mode
        if not hand_over.is_chosen:
            self._check_mode(situation, mode, target)
        stop = stages.Stop(flink_job_id=situation.place.flink_job_id, mode=mode, suspend=True)
        plan = self._draft.plan(
            "suspend", "state_compatible", situation, target, (), mode=mode, doing=(stop,), reasons=hand_over.reasons
        )
        return Planned(plan, target, (), None)

    def _replacement(
        self, situation: Situation, former: Release | None, target: Target, steps: tuple[topics.Step, ...]
    ) -> Planned:
        changed = self._changes(former, target)
        breaking = [change for change in changed if change.category == "state_breaking"]
        checks.refuse_mode(self._job, self._request, breaking)
        hand_over = self._hand_over(situation, self._request.mode or ("stateless" if breaking else "savepoint"))
        mode = hand_over.mode
        if isinstance(situation, Runs):
            situation = replace(situation, is_whole=situation.is_whole and not hand_over.reasons)
        abandons = mode == "stateless" and not isinstance(situation, Absent)
        place = None if isinstance(situation, Absent) else situation.place
        carry_over = abandons or _begins_at_offsets(place, target)
        graph = self._compiler.prepare(target, carry_over=carry_over).graph
        # A jar comes beside the graph, which names it alone.
        has_other_jars = any(change.path.startswith("jars.") for change in changed)
        if not has_other_jars and self._compiles_to_the_same(situation, former, graph, abandons=abandons):
            plan = self._draft.plan(
                "record", "metadata", situation, target, steps, changes=changed, reasons=("the same graph",)
            )
            return Planned(plan, target, steps, graph)
        # With a client that is there already: checkpoints of a job that runs come and go.
        held, why_given_up = self._held.read_or_why(situation, abandons=abandons)
        unseen = None
        if held is None and (abandons or breaking) and _may_hold(situation):
            # It tells where it stands when it stops, whatever can't be read before.
            unseen = f"its newest checkpoint tells nothing: {why_given_up}" if why_given_up else _UNSEEN
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
            if how == mode and not hand_over.is_chosen:
                self._check_mode(situation, mode, target)
            checks.check_slots(self._flink, self._directories(target), situation, graph)
        if changed and not abandons:
            change = self._by_meaning(change, place, graph, writes=isinstance(situation, Runs) and how == "savepoint")
        positions: Mapping[str, Mapping[Any, int]] = held.positions if held else {}
        if why_given_up is not None and place is not None:
            positions = last_positions(self._project, place, topics_of(target.resolved), self._brokers)
        continuity = self._check_positions(positions, target, abandons=abandons)
        plan = self._draft.plan(
            _action(situation),
            "state_breaking"
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
                        None if why_given_up is None else f"its state is given up, since {why_given_up}",
                        *(f"{change.path}: {change.why}" for change in breaking),
                        *state.reasons(change),
                        continuity.words_of_gone,
                    ),
                )
            ),
        )
        plan = self._with_a_way_back(plan, situation, former, target)
        return Planned(plan, target, steps, graph, carry_over)

    def _with_a_way_back(self, plan: Plan, situation: Situation, former: Release | None, target: Target) -> Plan:
        """The plan, with an approval where the release that runs could not be run again."""
        # A job that is down has nothing to go back to, and a rollback is the way back itself.
        if not isinstance(situation, Runs) or self._request.kind != "deploy":
            return plan
        why = checks.no_way_back(self._project, former, target)
        if why is None:
            return plan
        return plan.model_copy(update={"needs_approval": True, "no_way_back": why, "reasons": (*plan.reasons, why)})

    def _hand_over(self, situation: Situation, mode: Mode) -> HandOver:
        """How the job hands over: as it is asked for, or by what is known of its failures where no mode is given."""
        if not isinstance(situation, Runs) or self._request.mode in ("savepoint", "last-state"):
            return HandOver(mode)
        return hand_over_of(self._flink, situation, mode)

    def _by_meaning(self, change: StateChange, place: Placement | None, graph: Graph, *, writes: bool) -> StateChange:
        """What becomes of the state by what its operators compute, where it is taken over."""
        if place is None or not change.kept:
            return change
        old = written_operators(self._project.ledger, self._flink, place, None if writes else self._held.path, graph)
        return state.hold_against(change, old, graph)

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
        request_params = self._request.mode is not None or self._request.kind != "deploy"
        return bool(
            isinstance(situation, Runs)
            and former
            and former.graph == graph.digest
            # A graph that was compiled to carry offsets over differs in that alone.
            and not (abandons or request_params or situation.place.carried_over)
        )

    def _how_to_stop(
        self, situation: Situation, mode: Mode, why_given_up: str | None
    ) -> tuple[stages.StopMode, str | None]:
        """How it is stopped, and why what it leaves tells nothing; None: it does.

        One that is to leave its state behind, and can't write a savepoint, is cancelled.
        """
        if isinstance(situation, Stopping) and (why_given_up is not None or situation.place.stop_mode == "cancel"):
            return "cancel", why_given_up
        if mode != "stateless" or not isinstance(situation, Runs) or situation.is_whole:
            return mode, why_given_up
        place = situation.place
        if why_given_up is None and not self._flink.send(calls.checkpoint_config(place.flink_job_id)).is_retained:
            why_given_up = "its checkpoints are deleted when it is cancelled"
        return "last-state" if why_given_up is None else "cancel", why_given_up

    def _check_mode(self, situation: Runs | Stopping, mode: Mode, target: Target) -> None:
        environment = self._project.environment
        checks.check_mode(self._flink, self._directories(target), environment, situation, mode)

    @property
    def _brokers(self) -> AdminClient:
        return self._admin or connect(self._project.kafka)

    def _check_positions(
        self, positions: Mapping[str, Mapping[Any, int]], target: Target, *, abandons: bool
    ) -> Continuity:
        return checks.check_positions(
            self._job,
            positions,
            topics_of(target.resolved),
            self._brokers,
            self._project.kafka_servers,
            abandons=abandons,
        )

    def _directories(self, target: Target) -> Directories:
        return Directories(self._flink, target.resolved["options"])

    @staticmethod
    def _doing(
        situation: Situation, how: stages.StopMode, *, abandons: bool, carry_over: bool, gives_up: bool = False
    ) -> tuple[stages.Stage, ...]:
        start = stages.Start(source="group" if gives_up else "offsets" if abandons or carry_over else "stopped")
        match situation:
            case Runs(place, _) | Stopping(place, _):
                # What began without state may have some once it is stopped.
                if not gives_up:
                    start = stages.Start(source="offsets" if abandons else "stopped")
                return (stages.Prepare(), stages.Stop(flink_job_id=place.flink_job_id, mode=how), start)
            case Lost() if start.source == "stopped":
                start = stages.Start(source="checkpoint")
            case Absent():
                start = stages.Start(source="nothing")
        return (stages.Prepare(), start)


def _begins_at_offsets(place: Placement | None, target: Target) -> bool:
    """Whether it begins, without any state, at the offsets of its group.

    So does the first start of one that reads from `latest`: the ends, committed to its group, are where it begins, and
    where a successor begins that finds no state.
    """
    if place is None:
        return bool(topics_from_latest(target.resolved))
    return place.carried_over and not place.had_checkpoint


_UNSEEN = "it has made no checkpoint yet: what state it holds can't be told"


def _may_hold(situation: Situation) -> bool:
    """Whether a job of which there is no checkpoint may hold state all the same, which it hands over when it stops."""
    match situation:
        case Runs(_, is_whole):
            return is_whole
        case Stopping(place, is_alive):
            return is_alive and place.stop_mode != "cancel"
    return False


def _action(situation: Situation) -> Action:
    """What happens to a job that is started, or started anew."""
    if isinstance(situation, Runs):
        return "redeploy"
    return "start" if isinstance(situation, Absent | Suspended) else "recover"
