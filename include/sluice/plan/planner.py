"""Makes a plan: compares the desired state with the actual one. It writes only into the artifact store."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from sluice.flink.client import FlinkClient
from sluice.plan import checks
from sluice.plan.builder import ComparedTopics, PlanBuilder, Planned, with_extra_sinks
from sluice.plan.model import Action, Category, Plan
from sluice.plan.replacement import plan_replacement
from sluice.plan.request import DeployRequest
from sluice.plan.suspension import plan_suspension
from sluice.plan.target import wanted_target
from sluice.plan.view import ClusterView
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.release.target import Target
from sluice.state.situation import Absent, Lost, Runs, Stopped, Suspended

_TOPICS_HOLD_FOR = timedelta(minutes=5)
"""How long an earlier plan's comparison of the topics is used. They may be changed while the plan waits."""


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
        earlier: An earlier plan of the same operation; None: there is none. What it has packaged and compared isn't
            packaged and compared again, as long as it holds.
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
        earlier: Plan | None = None,
    ) -> None:
        self._project = project
        self._job = job
        self._request = request
        self._flink = flink
        self._compiler = compiler
        self._compiles_always = compiles_always
        self._earlier = earlier

    def plan(self) -> Planned:
        """Make the plan.

        Raises:
            RefusedError: the request can't be carried out, with the reason; nothing was changed.
            UnreachableError: the cluster or the broker doesn't answer.
        """
        confirms_loss = self._request.confirm_lost_cluster
        view = ClusterView(self._project, self._job, self._flink, self._compiler, confirms_loss=confirms_loss)
        planned = with_extra_sinks(self._planned(view))
        return replace(planned, planned_for=view.version, confirms_loss=confirms_loss)

    def _planned(self, view: ClusterView) -> Planned:
        job, request, former, situation = self._job, self._request, view.former, view.situation
        checks.refuse_suspended(job, request, situation, view.active)
        if view.active is None:
            # A retry finds the release that its own first try has placed.
            checks.check_expected_release(job, request, view.place)
        target = wanted_target(self._project, job, request, former, self._earlier)
        is_placed = former is not None and former.fingerprint == target.fingerprint
        if former is not None and is_placed:
            # Its number is known. The newest release may be another one, which was rolled back.
            target = replace(target, number=former.number)
        if request.kind == "suspend":
            return Planned(plan_suspension(view, request, target), target)
        compared = self._compared_topics(view, target)
        builder = PlanBuilder(view, request, target, compared)
        if isinstance(situation, Runs) and is_placed:
            checks.refuse_without_change(job, request, view.active, former)
            reasons = ("it runs this release", *checks.unused_mode(request))
            return Planned(builder.plan(Action.NONE, Category.NONE, reasons=reasons), target)
        if not self._compiles_always and request.mode is None:
            if isinstance(situation, Absent):
                start = builder.plan(Action.START, Category.STATELESS, doing=builder.start_stages())
                return Planned(start, target)
            if (
                isinstance(situation, Lost | Stopped | Suspended)
                and is_placed
                # Only the checkpoints of a job that started without state show whether it has state by now.
                and not situation.place.carried_over
            ):
                # The release that ran before starts again.
                action = Action.START if isinstance(situation, Suspended) else Action.RECOVER
                plan = builder.plan(action, Category.STATE_COMPATIBLE, doing=builder.start_stages())
                return Planned(plan, target)
        return plan_replacement(view, request, target, self._compiler, builder)

    def _compared_topics(self, view: ClusterView, target: Target) -> ComparedTopics:
        request, earlier, now = self._request, self._earlier, self._project.clock.now()
        compared_at = earlier.made_at if earlier and earlier.fingerprint == target.fingerprint else None
        if earlier and compared_at and now - compared_at < _TOPICS_HOLD_FOR:
            # Its steps can be taken twice: a DAG of one's own may have no task that takes them before.
            return ComparedTopics(compared_at, earlier.topics, earlier.topic_steps)
        steps = view.topic_steps(target, grow_partitions=request.grow_partitions, change_settings=request.change_topics)
        return ComparedTopics.of(now, steps)
