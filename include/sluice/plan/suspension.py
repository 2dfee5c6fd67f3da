"""The plan of a suspension."""

from __future__ import annotations

from sluice.errors import RefusedError
from sluice.ledger.values import StopMode
from sluice.plan import checks, stages
from sluice.plan.builder import PlanBuilder
from sluice.plan.model import Action, Category, Mode, Plan
from sluice.plan.request import DeployRequest
from sluice.plan.view import ClusterView
from sluice.release.target import Target
from sluice.state.situation import Runs, Stopping, Suspended


def plan_suspension(view: ClusterView, request: DeployRequest, target: Target) -> Plan:
    """The plan that suspends a job.

    Raises:
        RefusedError: the job doesn't run, or the mode can't keep its state.
        UnreachableError: the cluster doesn't answer.
    """
    job, situation, builder = view.job, view.situation, PlanBuilder(view, request, target)
    if isinstance(situation, Suspended):
        return builder.plan(Action.NONE, Category.NONE, reasons=("it is suspended already",))
    if not isinstance(situation, Runs | Stopping):
        has_file = job in view.project.catalog.jobs
        further = "" if has_file else f"; its file was removed: to take it off the list, sluice forget {job}"
        raise RefusedError(f"{job} is not running", remedy=f"see sluice status {job}{further}")
    hand_over = view.hand_over(request.mode, request.mode or Mode.SAVEPOINT)
    if not hand_over.is_chosen:
        checks.check_mode(view, target, hand_over.mode)
    stop = stages.Stop(flink_job_id=situation.place.flink_job_id, mode=StopMode(hand_over.mode), suspend=True)
    return builder.plan(
        Action.SUSPEND,
        Category.STATE_COMPATIBLE,
        mode=hand_over.mode,
        doing=(stop,),
        reasons=hand_over.reasons,
    )
