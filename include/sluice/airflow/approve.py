"""Asking a person about a plan that loses state: in Airflow's human-in-the-loop, with nothing held meanwhile.

What was asked and what the answer was stands in the ledger; whoever carries the plan out reads it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException, AirflowRuntimeError, AirflowSkipException
from airflow.sdk.execution_time.hitl import get_hitl_detail_content_detail

from sluice.airflow.base import RequestOperator, airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.plan.approval import Approval
    from sluice.plan.model import Plan
    from sluice.project import Project
    from sluice.release.approvals import Answer

APPROVE, REJECT = "Approve", "Reject"


class ApproveOperator(RequestOperator, HITLOperator):
    """Wait until a person has approved a plan that loses state; fail where it is rejected, or nobody answers in time.

    Skipped where the plan loses nothing, or was approved ahead. While it waits, neither a worker slot nor a trigger nor
    the job is held: the job may be recovered, or deployed otherwise, meanwhile. What is carried out afterwards must not
    lose more than was approved.

    Args:
        plan: The plan task's output (templated).
        notifiers: Told that a plan waits, with `changes` in their context as those of the sweep.
        patience: How long to wait; None: SLUICE_APPROVAL_HOURS.
    """

    template_fields = ("plan", "asked", *HITLOperator.template_fields)

    def __init__(
        self,
        *,
        plan: Any,
        notifiers: Sequence[BaseNotifier] = (),
        patience: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(subject="a plan that loses state", options=[APPROVE, REJECT], defaults=REJECT, **kwargs)
        self.plan = plan
        self.patience = patience
        self.listening = list(notifiers)

    def execute(self, context: Context) -> Any:
        """Ask, and wait; see `execute_complete`."""
        from sluice.plan.approval import beyond  # noqa: PLC0415
        from sluice.plan.model import Plan  # noqa: PLC0415

        plan = Plan.model_validate(self.plan)
        if not plan.needs_approval:
            raise AirflowSkipException("the plan loses nothing")
        if self.request(context).get("allow_state_loss"):
            raise AirflowSkipException("it was approved ahead")
        with airflow_errors():
            project = self.project()
            given = given_approval(project, self.job, self.holder(context))
            if given is not None and given.plan is not None and not beyond(plan, given.plan):
                return {"by": given.by, "at": given.at.isoformat()}
            asked = project.ledger.approvals.waiting(self.job, self.holder(context))
            if asked is not None and not beyond(plan, Plan.model_validate(asked.plan)):
                event = _unread_answer(context, asked.asked_at)
                if event is not None:
                    return self.execute_complete(context, event)
            self._ask(context, project, plan)
        return super().execute(context)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """Who has approved it and when; anything else fails the run, which has touched nothing."""
        chosen = super().execute_complete(context, event)["chosen_options"]
        by, at = _responder(event), datetime.fromtimestamp(event["responded_at"].timestamp(), UTC)
        answer: Answer = "timed_out" if by is None else "approved" if chosen == [APPROVE] else "rejected"
        with airflow_errors():
            self.project().ledger.approvals.answer(self.job, self.holder(context), answer, by, at)
        if answer == "rejected":
            raise AirflowFailException(f"{self.job}: {by} has rejected the plan; nothing was touched")
        if answer == "timed_out":
            raise AirflowFailException(
                f"{self.job}: nobody has approved the plan in time; nothing was touched; deploy again, which asks again"
            )
        return {"by": by, "at": at.isoformat()}

    def _ask(self, context: Context, project: Project, plan: Plan) -> None:
        from sluice.plan.markdown import markdown  # noqa: PLC0415

        self.response_timeout = self.patience or timedelta(hours=project.settings.approval_hours)
        until = datetime.now(UTC) + self.response_timeout
        link = f"{context['ti'].log_url.partition('?')[0]}/required_actions"
        why = "; ".join(plan.reasons) or "it abandons its state"
        project.ledger.approvals.ask(
            self.holder(context),
            plan.model_dump(mode="json"),
            why,
            until=until,
            link=link,
            is_gone=self.is_gone(context),
        )
        self.subject = f"{self.job}: {plan.kind} that loses state"
        reason = self.request(context).get("reason")
        self.body = "\n\n".join(
            [
                markdown(plan),
                *([f"Reason given: {reason}"] if reason else []),
                f"Without an answer until {until:%Y-%m-%d %H:%M} UTC it is refused. Meanwhile the job goes on.",
            ]
        )
        self._tell(context, project, plan, f"what is desired needs an approval: {why}; approve or reject it: {link}")

    def _tell(self, context: Context, project: Project, plan: Plan, words: str) -> None:
        from sluice.airflow.listening import listeners  # noqa: PLC0415
        from sluice.fleet.telling import tell_approval  # noqa: PLC0415

        ledger = project.ledger
        untold = tell_approval(ledger.told, ledger.samples, plan, words, listeners(self.listening, context))
        for line in untold:
            self.log.error("%s", line)


def given_approval(project: Project, job: str, asker: str) -> Approval | None:
    """What was approved of this run's newest plan, unless an operation that has ended has used it; None: nothing."""
    from sluice.plan.approval import Approval  # noqa: PLC0415
    from sluice.plan.model import Plan  # noqa: PLC0415

    ledger = project.ledger
    given = ledger.approvals.given(job, asker)
    if given is None or given.answered_by is None or given.answered_at is None:
        return None
    ended = (row for row in ledger.operations(job) if row.holder == asker and row.ended_at is not None)
    if any(row.approved_at == given.answered_at for row in ended):
        return None
    return Approval(given.answered_by, given.answered_at, Plan.model_validate(given.plan))


def _unread_answer(context: Context, since: datetime) -> dict[str, Any] | None:
    """What was answered since then and not read: the try that should have read it has died. None: nothing."""
    try:
        detail = get_hitl_detail_content_detail(ti_id=context["ti"].id)
    except AirflowRuntimeError:
        # It was cleared: what it asked before is another question.
        return None
    if not detail.response_received or detail.responded_at is None or detail.responded_at < since:
        return None
    user = detail.responded_by_user
    return {
        "chosen_options": detail.chosen_options or [],
        "params_input": detail.params_input or {},
        "responded_by_user": None if user is None else {"id": user.id, "name": user.name},
        "responded_at": detail.responded_at,
    }


def _responder(event: dict[str, Any]) -> str | None:
    """Who has answered; None: nobody, the time is over."""
    user = event["responded_by_user"]
    if user is None:
        return None
    name, identity = user["name"], user["id"]
    return str(name) if name == identity else f"{name} ({identity})"
