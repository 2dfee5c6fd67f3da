"""Begin the operation of a plan: take the job's lock, and add the plan's release to the ledger."""

from __future__ import annotations

from sluice.ledger.ledger import NewRelease
from sluice.ledger.values import Phase
from sluice.operation.context import OperationContext
from sluice.plan.approval import Approval, refuse_unapproved
from sluice.plan.builder import Planned
from sluice.plan.model import Plan
from sluice.state.operators import kept_values


def check_approval(context: OperationContext, plan: Plan, approval: Approval | None) -> None:
    """Refuse a plan that needs an approval and has none.

    An operation that has stopped the job with an approval continues with it.

    Raises:
        RefusedError: the approval is missing, or is of another plan.
    """
    if not _has_begun_approved(context, plan):
        refuse_unapproved(plan, approval)


def begin(context: OperationContext, planned: Planned, approval: Approval | None, note: str | None) -> None:
    """Begin the operation. A release that the ledger does not have is added in the same transaction.

    Args:
        context: Gets the operation.
        planned: The plan.
        approval: The approval of a plan that needs one.
        note: The reason that was given.

    Raises:
        BusyError: another holder holds the job's lock.
        ChangedError: the placement has changed after planning.
    """
    plan, target = planned.plan, planned.target
    given = approval if plan.needs_approval else None
    context.begun = context.project.ledger.begin(
        plan.job,
        kind=plan.kind,
        holder=context.holder,
        release=_new_release(planned) if target.number is None else target.number,
        is_gone=context.is_gone,
        details={
            "former_release": plan.former_release,
            "mode": plan.mode and plan.mode.value,
            "note": note,
            "plan": plan.model_dump(mode="json"),
            "approved_by": given.by if given else None,
            "approved_at": given.at if given else None,
        },
        planned_for=planned.planned_for,
    )
    if target.number is None:
        context.log(f"release {context.begun.row.release}: artifact {target.artifact[:12]}")


def _has_begun_approved(context: OperationContext, plan: Plan) -> bool:
    """Whether this holder has stopped the job for this same target with an approval, and now continues."""
    ledger = context.project.ledger
    active, place = ledger.active(plan.job), ledger.placement(plan.job)
    if active is None or active.holder != context.holder or active.approved_by is None:
        return False
    begun = active.plan or {}
    is_the_same = (begun.get("kind"), begun.get("fingerprint")) == (plan.kind, plan.fingerprint)
    if plan.gives_up and not Plan.model_validate(begun).gives_up:
        return False
    return is_the_same and place is not None and place.phase in (Phase.STOPPING, Phase.STOPPED)


def _new_release(planned: Planned) -> NewRelease:
    target, graph = planned.target, planned.graph
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
