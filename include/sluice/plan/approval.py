"""Whether a plan does no more than what a person has approved. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from datetime import datetime
from typing import get_args

from sluice.errors import RefusedError
from sluice.plan.model import NEWEST_FAILURE, Category, Mode, Plan
from sluice.state.change import Fate
from sluice.state.offsets import NO_LONGER_HELD


@dataclass(frozen=True)
class Approval:
    """A person's consent to a plan that loses state, or from which there is no way back.

    Attributes:
        by: Who gave it.
        at: When.
        plan: The plan that the person has read; None: given in advance, for any plan.
    """

    by: str
    at: datetime
    plan: Plan | None = None


def refuse_unapproved(plan: Plan, approval: Approval | None) -> None:
    """Refuse a plan that needs an approval and does more than was approved; called before it is carried out.

    Raises:
        RefusedError: the approval is missing, or was given to another plan or to one that loses less.
    """
    if not plan.needs_approval:
        return
    if approval is None and plan.no_way_back and plan.category != Category.STATE_BREAKING:
        raise RefusedError(
            f"{plan.job}: a person has to approve this: {'; '.join(plan.reasons)}",
            remedy="keep that in the deployment file for this one deploy; to deploy without it, give "
            "--allow-state-loss (Airflow: deploy again, and approve the plan)",
        )
    if approval is None and plan.alters_state:
        raise RefusedError(
            f"{plan.job}: state would be kept with another meaning: {'; '.join(plan.reasons)}",
            remedy=f"{_without_it(plan)}; to deploy it, give --allow-state-loss (Airflow: deploy again, and approve "
            "the plan)",
        )
    if approval is None:
        raise RefusedError(
            f"{plan.job}: state would be abandoned: {'; '.join(plan.reasons) or 'mode stateless'}",
            remedy="see sluice plan; to deploy it, give --allow-state-loss (Airflow: deploy again, and approve the "
            "plan)",
        )
    if approval.plan is not None and (more := beyond(plan, approval.plan)):
        raise RefusedError(
            f"{plan.job}: this is not the plan that {approval.by} has approved: {'; '.join(more)}",
            remedy="deploy again, and read the new plan",
        )


def _without_it(plan: Plan) -> str:
    """The next step for a start without the state whose meaning has changed."""
    if any(operator.old is not None for operator in plan.state.altered):
        return (
            f"sluice plan {plan.job} shows what it computes, old and new; undo the change, or take mode stateless, "
            "which abandons the state and starts from the job's current offsets"
        )
    return "leave the mode out, which abandons it"


_IRRELEVANT = dict.fromkeys(("expected_downtime_ms", "warnings", "extra_sinks", "artifact", "made_at"), True)
"""Fields of a plan that a person doesn't decide about; the fingerprint covers the code's meaning."""


def identity(plan: Plan) -> str:
    """A digest, twelve characters long, of what a person approves or rejects in a plan.

    Equal for plans that differ only in figures (the state's size, the downtime, the number of offsets that Kafka has
    deleted), in time, in comments of the code, in warnings, or in the text of the job's newest failure.
    """
    without_sizes = {name: {"__all__": {"size"}} for name in get_args(Fate)}
    values = plan.model_dump(mode="json", exclude={**_IRRELEVANT, "state": without_sizes})
    values["reasons"] = [
        re.sub(r"(?<=: )[\d,]+", "0", reason) if reason.startswith(NO_LONGER_HELD) else reason
        for reason in plan.reasons
        if not reason.startswith(NEWEST_FAILURE)
    ]
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def beyond(plan: Plan, approved: Plan) -> list[str]:
    """What a plan does beyond an approved one, in words; empty: it loses no more.

    State that has only grown is the same state. A plan that loses less than was approved is no difference.
    """
    more = []
    if plan.kind != approved.kind:
        more.append(f"it is a {plan.kind}, not a {approved.kind}")
    if plan.fingerprint != approved.fingerprint:
        more.append("code or settings have changed")
    if plan.former_release != approved.former_release:
        more.append(f"release {plan.former_release} runs or ran, not {approved.former_release}")
    if plan.mode == Mode.STATELESS and approved.mode != Mode.STATELESS:
        more.append("it abandons all state")
    if plan.gives_up and not approved.gives_up:
        more.append("the job's last state can no longer be read, nor its offsets there")
    if plan.no_way_back and not approved.no_way_back:
        more.append(plan.no_way_back)
    if plan.alters_state and approved.category != Category.STATE_BREAKING:
        more.append("its state is kept with another meaning")
    elif approved.state.held:
        agreed = {operator.id for operator in approved.state.altered}
        altered = [operator.name for operator in plan.state.altered if operator.id not in agreed]
        more += [f"the state of {', '.join(altered)} is kept with another meaning"] if altered else []
    known = {operator.id for operator in approved.state.held}
    new = [operator.name for operator in plan.state.held if operator.id not in known]
    # The approved plan abandoned all state without a list of it, because the state couldn't be read.
    was_unseen = approved.category == Category.STATE_BREAKING and approved.mode == Mode.STATELESS and not known
    if new and not was_unseen:
        more.append(f"there is state that the approved plan did not have: {', '.join(new)}")
    return more
