"""Builds the plan from what the planner has decided and the operations in the ledger."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, replace
from datetime import datetime

from sluice.client.protocol import Graph
from sluice.deployment.desired import override_secret_warnings
from sluice.kafka.topic_steps import Step
from sluice.ledger.placement_version import PlacementVersion
from sluice.ledger.tables import Placement
from sluice.ledger.values import StopMode
from sluice.plan import stages
from sluice.plan.model import Action, Category, Change, Mode, Plan, TopicAction
from sluice.plan.request import DeployRequest
from sluice.plan.target import healthy_before
from sluice.plan.view import ClusterView
from sluice.release.target import Target
from sluice.state.change import StateChange
from sluice.state.situation import Absent, Lost, Runs, Stopping, Suspended


@dataclass(frozen=True)
class Planned:
    """A plan with the values that its execution needs.

    Attributes:
        graph: The compiled graph of the target; None: it wasn't compiled.
        carry_over: The target was compiled to start without state, from the committed offsets of its group.
        planned_for: The version of the placement for which the plan is valid; None: any.
        confirms_loss: A person has confirmed that nothing of the job runs on the cluster where it was started.
    """

    plan: Plan
    target: Target
    graph: Graph | None = None
    carry_over: bool = False
    planned_for: PlacementVersion | None = None
    confirms_loss: bool = False


def with_extra_sinks(planned: Planned) -> Planned:
    """The same with what the pipeline writes besides its declared topics, and a warning of that."""
    sinks = planned.graph.extra_sinks if planned.graph else ()
    if not sinks:
        return planned
    warning = (
        f"besides its topics, the job writes to {', '.join(sinks)}: Sluice doesn't create, check or replay that, and a "
        "restart may write rows to it twice"
    )
    plan = planned.plan.model_copy(
        update={"extra_sinks": sinks, "warnings": (*planned.plan.warnings, warning)},
    )
    return replace(planned, plan=plan)


@dataclass(frozen=True)
class ComparedTopics:
    """The comparison of a job's topics with the broker.

    Attributes:
        at: When they were compared.
        actions: What the operation does to each topic, or has done.
        steps: What is left to do.
    """

    at: datetime
    actions: tuple[TopicAction, ...]
    steps: tuple[Step, ...] = ()

    @classmethod
    def of(cls, at: datetime, steps: tuple[Step, ...]) -> ComparedTopics:
        """A comparison that has found these steps."""
        actions = tuple(TopicAction(topic=step.declared.name, action=step.action, words=step.words) for step in steps)
        return cls(at, actions, tuple(step for step in steps if step.action != "keep"))


class PlanBuilder:
    """Builds the plan for one target of a request.

    Args:
        view: What was read of the job.
        request: The request.
        target: The release to run.
        topics: The comparison of its topics; None: the request has none.
    """

    def __init__(
        self, view: ClusterView, request: DeployRequest, target: Target, topics: ComparedTopics | None = None
    ) -> None:
        self._view = view
        self._request = request
        self._target = target
        self._topics = topics

    def plan(
        self,
        action: Action,
        category: Category,
        *,
        mode: Mode | None = None,
        doing: tuple[stages.Stage, ...] = (),
        changes: list[Change] | None = None,
        state: StateChange | None = None,
        reasons: tuple[str, ...] = (),
    ) -> Plan:
        """The plan with the stages of `doing`; those before and after them follow from the other arguments."""
        request, target, situation, topics = self._request, self._target, self._view.situation, self._topics
        place: Placement | None = None if isinstance(situation, Absent) else situation.place
        before: list[stages.Stage] = [stages.AddRelease()] if target.number is None else []
        if topics and topics.steps:
            before.append(stages.CreateTopics.of(topics.steps))
        config = target.desired.job.config if target.desired else None
        secret_warnings = override_secret_warnings(config, target.overrides) if config else ()
        is_down = action == "suspend" or (isinstance(situation, Suspended) and action == "none")
        after = (stages.Settle(suspended=True),) if is_down else (stages.Verify(), stages.Settle())
        return Plan(
            job=self._view.job,
            kind=request.kind,
            action=action,
            category=category,
            reasons=(*reasons, *secret_warnings),
            warnings=self._view.project.exposed_logins,
            mode=mode,
            release=target.number,
            former_release=self._former_release(place.release) if place else None,
            fingerprint=target.fingerprint,
            artifact=target.artifact,
            made_at=topics.at if topics else None,
            changes=tuple(changes or ()),
            topics=topics.actions if topics else (),
            state=state or StateChange(),
            overrides=target.shown_overrides,
            needs_approval=category == Category.STATE_BREAKING,
            expected_downtime_ms=self._expected_downtime(mode) if action == "redeploy" else None,
            stages=(*before, *doing, *after),
        )

    def start_stages(
        self,
        how: StopMode = StopMode.SAVEPOINT,
        *,
        abandons: bool = False,
        carry_over: bool = False,
        gives_up: bool = False,
    ) -> tuple[stages.Stage, ...]:
        """The stages that start the target, after stopping a job that runs.

        Args:
            how: How it is stopped.
            abandons: The target starts without the job's state.
            carry_over: The target starts without state, from the committed offsets of its group.
            gives_up: The job's state can't be read.
        """
        start = stages.Start(source="group" if gives_up else "offsets" if abandons or carry_over else "stopped")
        match self._view.situation:
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

    def _former_release(self, placed: int) -> int:
        """The release for a rollback: the placed one; if that is an unhealthy target, the healthy one before it."""
        ledger, job = self._view.project.ledger, self._view.job
        release = ledger.release(job, placed)
        if release.fingerprint != self._target.fingerprint or release.healthy_at is not None:
            return placed
        before = healthy_before(ledger.releases(job), placed)
        return before.number if before else placed

    def _expected_downtime(self, mode: Mode | None) -> int | None:
        seen = [
            operation.downtime_ms
            for operation in self._view.project.ledger.operations(self._view.job)
            if operation.downtime_ms is not None and operation.mode == mode
        ]
        return round(statistics.median(seen)) if seen else None
