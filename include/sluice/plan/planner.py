"""Making a plan: desired against actual. It reads, and writes nothing but content into the store of artifacts."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from confluent_kafka.admin import AdminClient

from sluice.client.protocol import Graph, State
from sluice.errors import RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.kafka import topics
from sluice.kafka.brokers import connect
from sluice.plan import changes as differences
from sluice.plan import stages, state
from sluice.plan.compiler import Compiler
from sluice.plan.directories import Directories
from sluice.plan.lost import newest_state
from sluice.plan.model import Action, Category, Change, Kind, Mode, Plan, StateChange, TopicAction
from sluice.plan.situation import Absent, Lost, Runs, Situation, Stopped, Stopping, Suspended, locate
from sluice.plan.target import Target, desired_target, release_target
from sluice.plan.topics import topic_steps
from sluice.project import Project
from sluice.release.artifact import artifact_file
from sluice.release.tables import Placement, Release


@dataclass(frozen=True)
class Request:
    """What a person or a run asks for.

    Attributes:
        mode: How the old job hands over; None: with a savepoint, or without state where that is abandoned on purpose.
        overrides: Settings of the job over the deployment file's, added to those of the release that runs.
        clear_overrides: Take back what former runs gave.
        to: For a rollback, the release to go back to; None: the healthy one before.
        wake: A deploy may start a suspended job.
        grow_partitions, change_topics: What may be done to topics.
    """

    kind: Kind = "deploy"
    mode: Mode | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)
    clear_overrides: bool = False
    to: int | None = None
    wake: bool = False
    grow_partitions: bool = False
    change_topics: bool = False


@dataclass(frozen=True)
class Planned:
    """A plan with what it takes to do it.

    Attributes:
        steps: What the topics need.
        graph: What the target compiles to; None: it wasn't compiled.
    """

    plan: Plan
    target: Target
    steps: tuple[topics.Step, ...]
    graph: Graph | None


class Planner:
    """Plans one operation of one job.

    Args:
        project: The project.
        job: The job's name.
        request: What is asked for.
        flink: The cluster.
        compiler: Compiles when that is needed.
        admin: The brokers; None: by the project's own configuration.
        compiles_first_start: Whether a job that never ran is compiled as well: there is no state to hold it against.
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
        compiles_first_start: bool = True,
    ) -> None:
        self._project = project
        self._job = job
        self._request = request
        self._flink = flink
        self._compiler = compiler
        self._admin = admin
        self._compiles_first_start = compiles_first_start

    def plan(self) -> Planned:
        """The plan.

        Raises:
            RefusedError: it can't be done, with the reason; nothing was touched.
            UnreachableError: the cluster or the broker doesn't answer.
        """
        job, ledger = self._job, self._project.ledger
        situation = locate(job, ledger.placement(job), self._flink.send(calls.jobs()).jobs)
        place = None if isinstance(situation, Absent) else situation.place
        former = ledger.release(job, place.release) if place else None
        self._refuse_suspended(situation)
        target = self._target(former)
        steps = self._topic_steps(target)
        if self._request.kind == "suspend":
            return self._suspension(situation, target)
        if isinstance(situation, Runs) and former and former.fingerprint == target.fingerprint:
            runs = self._finished("none", "none", situation, target, steps, reasons=("it runs this release",))
            return Planned(runs, target, steps, None)
        if isinstance(situation, Absent) and not self._compiles_first_start:
            doing = (stages.Prepare(), stages.Start(source="nothing"))
            return Planned(
                self._finished("start", "stateless", situation, target, steps, doing=doing), target, steps, None
            )
        return self._replacement(situation, former, target, steps)

    def _refuse_suspended(self, situation: Situation) -> None:
        kind = self._request.kind
        if isinstance(situation, Suspended) and kind in ("deploy", "rollback") and not self._request.wake:
            raise RefusedError(
                f"{self._job} is suspended since {situation.place.since:%Y-%m-%d %H:%M} UTC",
                remedy=f"sluice resume {self._job} runs it as it was; sluice deploy {self._job} --wake starts what is "
                "desired now from the same state",
            )
        if kind == "resume" and not isinstance(situation, Suspended | Stopped | Stopping):
            raise RefusedError(f"{self._job} is not suspended", remedy=f"see sluice status {self._job}")

    def _target(self, former: Release | None) -> Target:
        request = self._request
        if request.kind == "rollback":
            return release_target(self._rollback_release(former), self._meanings())
        if request.kind in ("suspend", "resume"):
            if former is None:
                raise RefusedError(f"{self._job} was never deployed", remedy=f"run sluice deploy {self._job}")
            return release_target(former)
        standing = {} if former is None or request.clear_overrides else former.overrides
        desired = desired_target(self._project, self._job, {**standing, **request.overrides})
        if desired.desired is not None and not desired.desired.enabled:
            raise RefusedError(
                f"{self._job} is disabled in {self._project.settings.deployment_file}",
                remedy=f"set jobs.{self._job}.enabled to true there; to stop a running one: sluice suspend {self._job}",
            )
        return desired

    def _rollback_release(self, former: Release | None) -> Release:
        if former is None:
            raise RefusedError(f"{self._job} was never deployed", remedy=f"run sluice deploy {self._job}")
        ledger, to = self._project.ledger, self._request.to
        if to is not None:
            known = {release.number: release for release in ledger.releases(self._job)}
            if to not in known:
                numbers = ", ".join(map(str, sorted(known)))
                raise RefusedError(f"{self._job} has no release {to}", remedy=f"choose one of {numbers}")
            return known[to]
        for release in ledger.releases(self._job):
            if release.number < former.number and release.healthy_at is not None:
                return release
        raise RefusedError(
            f"{self._job}: there is no healthy release before {former.number}",
            remedy=f"name one with --to; see sluice history {self._job}",
        )

    def _meanings(self) -> Mapping[str, str]:
        from sluice.job.config import state_settings  # noqa: PLC0415

        known = self._project.catalog.jobs.get(self._job)
        return state_settings(known.config) if known else {}

    def _topic_steps(self, target: Target) -> tuple[topics.Step, ...]:
        if target.desired is None:
            return ()
        return topic_steps(
            self._project,
            target.desired,
            self._admin or connect(self._project.kafka),
            grow_partitions=self._request.grow_partitions,
            change_settings=self._request.change_topics,
        )

    def _suspension(self, situation: Situation, target: Target) -> Planned:
        if isinstance(situation, Suspended):
            plan = self._finished("none", "none", situation, target, (), reasons=("it is suspended already",))
            return Planned(plan, target, (), None)
        if not isinstance(situation, Runs | Stopping):
            raise RefusedError(f"{self._job} does not run", remedy=f"see sluice status {self._job}")
        mode = self._request.mode or "savepoint"
        self._check_mode(situation, mode, target)
        stop = stages.Stop(flink_job_id=situation.place.flink_job_id, mode=mode, suspend=True)
        plan = self._finished("suspend", "state_compatible", situation, target, (), mode=mode, doing=(stop,))
        return Planned(plan, target, (), None)

    def _replacement(
        self, situation: Situation, former: Release | None, target: Target, steps: tuple[topics.Step, ...]
    ) -> Planned:
        changed = self._changes(former, target)
        breaking = [change for change in changed if change.category == "state_breaking"]
        mode: Mode = self._request.mode or ("stateless" if breaking else "savepoint")
        abandons = mode == "stateless" and not isinstance(situation, Absent)
        place = None if isinstance(situation, Absent) else situation.place
        carry_over = abandons or bool(place and place.carried_over and not place.had_checkpoint)
        graph = self._compiler.prepare(target, carry_over=carry_over).graph
        if self._compiles_to_the_same(situation, former, graph, abandons=abandons):
            plan = self._finished(
                "record", "metadata", situation, target, steps, changes=changed, reasons=("the same graph",)
            )
            return Planned(plan, target, steps, graph)
        held = self._state(situation, target)
        change = state.compare(held, graph)
        if change.dropped and not abandons:
            raise self._state_would_be_lost(change)
        if isinstance(situation, Runs | Stopping):
            self._check_mode(situation, mode, target)
            self._check_slots(situation, graph)
        category: Category = "state_compatible"
        if held is None or state.is_positions_alone(change):
            category = "stateless"
        elif abandons or breaking:
            category = "state_breaking"
        plan = self._finished(
            "redeploy"
            if isinstance(situation, Runs)
            else "start"
            if isinstance(situation, Absent | Suspended)
            else "recover",
            category,
            situation,
            target,
            steps,
            mode=mode if isinstance(situation, Runs | Stopping) or abandons else None,
            changes=changed,
            state=change,
            doing=self._doing(situation, mode, abandons=abandons, carry_over=carry_over),
            reasons=tuple(f"{change.path}: {change.why}" for change in breaking),
        )
        return Planned(plan, target, steps, graph)

    def _changes(self, former: Release | None, target: Target) -> list[Change]:
        if former is None or former.fingerprint == target.fingerprint:
            return []
        store = self._project.settings.artifacts
        return [
            *differences.compare_values(former.resolved, target.resolved, target.meanings),
            *differences.compare_code(artifact_file(store, former.artifact), artifact_file(store, target.artifact)),
        ]

    def _compiles_to_the_same(
        self, situation: Situation, former: Release | None, graph: Graph, *, abandons: bool
    ) -> bool:
        asked_for = self._request.mode is not None or self._request.kind != "deploy"
        return bool(
            isinstance(situation, Runs)
            and former
            and former.graph == graph.digest
            # A graph that was compiled to carry offsets over differs in that alone.
            and not (abandons or asked_for or situation.place.carried_over)
        )

    def _state(self, situation: Situation, target: Target) -> State | None:
        """What the state that would be taken over holds; None: there is none yet."""
        path: str | None = None
        match situation:
            case Runs(place):
                completed = self._flink.send(calls.checkpoints(place.flink_job_id)).latest.completed
                path = (completed.external_path if completed else None) or place.restored_from
            case Stopping(place, is_alive):
                if is_alive:
                    completed = self._flink.send(calls.checkpoints(place.flink_job_id)).latest.completed
                    path = completed.external_path if completed else None
            case Stopped(place) | Suspended(place):
                path = place.state_path
            case Lost():
                path = newest_state(self._flink, self._compiler, self._directories(target), situation)
            case Absent():
                path = None
        return self._compiler.inspect(path) if path else None

    def _directories(self, target: Target) -> Directories:
        return Directories(self._flink, target.resolved["options"])

    def _state_would_be_lost(self, change: StateChange) -> RefusedError:
        lost = ", ".join(f"{operator.name} ({operator.size:,} bytes)" for operator in change.dropped)
        new = ", ".join(operator.name for operator in change.added) or "none"
        remedy = "keep the operators as they are, or raise the job's state_version to abandon its state on purpose"
        if self._request.kind == "rollback":
            remedy = "take mode stateless to go back without state, from where the job stands"
        return RefusedError(
            f"{self._job}: the state of {lost} would be lost: no operator of the new graph takes it (new ones: {new})",
            remedy=remedy,
        )

    def _check_mode(self, situation: Runs | Stopping, mode: Mode, target: Target) -> None:
        if isinstance(situation, Stopping):
            return
        if mode == "last-state":
            if not self._flink.send(calls.checkpoint_config(situation.place.flink_job_id)).is_retained:
                raise RefusedError(
                    f"{self._job}: mode last-state needs checkpoints that outlive a cancel, and this job's are deleted",
                    remedy="set execution.checkpointing.externalized-checkpoint-retention to RETAIN_ON_CANCELLATION "
                    "and redeploy with mode savepoint once",
                )
        else:
            self._directories(target).savepoints(self._project.environment, self._job, "-")

    def _check_slots(self, situation: Runs | Stopping, graph: Graph) -> None:
        """Refuse before the stop what would wait for slots after it."""
        if not isinstance(situation, Runs) or Directories(self._flink, {}).is_elastic:
            return
        detail = self._flink.send(calls.job(situation.place.flink_job_id))
        freed = max((vertex.parallelism for vertex in detail.vertices), default=0)
        free = self._flink.send(calls.overview()).slots_available
        if graph.slots > free + freed:
            raise RefusedError(
                f"{self._job}: {graph.slots} task slots are needed; {free} are free and the running job frees {freed}",
                remedy="lower the parallelism, or add TaskManagers",
            )

    @staticmethod
    def _doing(situation: Situation, mode: Mode, *, abandons: bool, carry_over: bool) -> tuple[stages.Stage, ...]:
        start = stages.Start(source="offsets" if abandons or carry_over else "stopped")
        match situation:
            case Runs(place) | Stopping(place, _):
                return (stages.Prepare(), stages.Stop(flink_job_id=place.flink_job_id, mode=mode), start)
            case Lost() if start.source != "offsets":
                start = stages.Start(source="checkpoint")
            case Absent():
                start = stages.Start(source="nothing")
        return (stages.Prepare(), start)

    def _finished(
        self,
        action: Action,
        category: Category,
        situation: Situation,
        target: Target,
        steps: tuple[topics.Step, ...],
        *,
        mode: Mode | None = None,
        doing: tuple[stages.Stage, ...] = (),
        changes: list[Change] | None = None,
        state: StateChange | None = None,
        reasons: tuple[str, ...] = (),
    ) -> Plan:
        place: Placement | None = None if isinstance(situation, Absent) else situation.place
        to_do = tuple(step.words for step in steps if step.action != "keep")
        before: list[stages.Stage] = [stages.CreateTopics(topics=to_do)] if to_do else []
        if target.number is None and action != "none":
            before.insert(0, stages.AddRelease())
        after = (
            ()
            if action == "suspend" or (isinstance(situation, Suspended) and action == "none")
            else (
                stages.Verify(),
                stages.Settle(),
            )
        )
        return Plan(
            job=self._job,
            kind=self._request.kind,
            action=action,
            category=category,
            reasons=reasons,
            mode=mode,
            release=target.number,
            former_release=place.release if place else None,
            fingerprint=target.fingerprint,
            changes=tuple(changes or ()),
            topics=tuple(TopicAction(topic=step.declared.name, action=step.action, words=step.words) for step in steps),
            state=state or StateChange(),
            overrides=dict(target.overrides),
            needs_approval=category == "state_breaking",
            expected_downtime_ms=self._expected_downtime(mode) if action == "redeploy" else None,
            stages=(*before, *doing, *after),
        )

    def _expected_downtime(self, mode: Mode | None) -> int | None:
        seen = [
            operation.downtime_ms
            for operation in self._project.ledger.operations(self._job)
            if operation.downtime_ms is not None and operation.mode == mode
        ]
        return round(statistics.median(seen)) if seen else None
