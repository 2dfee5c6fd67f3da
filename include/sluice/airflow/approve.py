"""The task that asks a person to approve a plan, with Airflow's human-in-the-loop.

The ledger records the request and the answer; the task that executes the plan reads them there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput

from sluice.airflow.base import PlannedOperator, airflow_errors
from sluice.airflow.task_api import create_question
from sluice.errors import RefusedError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.ledger.approvals import Answer
    from sluice.plan.approval import Approval
    from sluice.plan.model import Plan
    from sluice.project import Project

APPROVE, REJECT = "Approve", "Reject"


class ApproveOperator(PlannedOperator, HITLOperator):
    """Wait until a person approves a plan; fail if the plan is rejected, or not approved in time.

    The task is skipped if the plan needs no approval or was approved in advance. In an unattended run it fails at once.
    While it waits, it holds neither a worker slot nor a trigger nor the job's lock, so that other runs can recover or
    deploy the job. The plan that is then executed must not lose more than the approved one.

    Args:
        plan: The plan task's output (templated).
        notifiers: Called when a plan waits for an approval, with `changes` in their context as the sweep's notifiers.
        patience: How long to wait; None: SLUICE_APPROVAL_HOURS.
    """

    # Subject and body are no templates: they contain text from the job's settings and from the requester.
    template_fields = PlannedOperator.template_fields

    def __init__(
        self,
        *,
        plan: Any,
        notifiers: Sequence[BaseNotifier] = (),
        patience: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(plan=plan, subject="a plan", options=[APPROVE, REJECT], defaults=REJECT, **kwargs)
        self.patience = patience
        # Not `notifiers`, which `HITLOperator` calls itself.
        self.plan_notifiers = list(notifiers)

    def execute(self, context: Context) -> Any:
        """Ask for the approval, and wait for the answer; see `execute_complete`."""
        from sluice.plan.approval import beyond  # noqa: PLC0415

        with airflow_errors():
            plan, request = self.planned(), self.request(context)
        if plan is None:
            raise AirflowFailException(f"{self.job}: there is no plan to approve: see the log of the plan task")
        if not plan.needs_approval:
            raise AirflowSkipException("the plan needs no approval")
        if request.allow_state_loss:
            raise AirflowSkipException("the plan was approved in advance")
        if request.unattended:
            raise AirflowFailException(
                f"{self.job}: the plan needs an approval, and an unattended run can't ask for one: "
                f"{plan.why_approval}; the job was not changed; start a run that isn't unattended, and approve its plan"
            )
        with airflow_errors():
            project = self.project()
            given = given_approval(project, self.job, self.holder(context))
            if given is not None and given.plan is not None and not beyond(plan, given.plan):
                return {"by": given.by, "at": given.at.isoformat()}
            self._ask(context, project, plan)
        # The end of `HITLOperator.execute`. Calling it would send the question again and delete an answer to it.
        raise TaskAwaitingInput(method_name="execute_complete", timeout=self.response_timeout)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> dict[str, Any]:
        """The person who approved the plan, and the time. Any other answer fails the run; the job is not changed."""
        chosen = super().execute_complete(context, event)["chosen_options"]
        by, at = _responder(event), datetime.fromtimestamp(event["responded_at"].timestamp(), UTC)
        answer: Answer = "timed_out" if by is None else "approved" if chosen == [APPROVE] else "rejected"
        with airflow_errors():
            self.project().ledger.approvals.answer(self.job, self.holder(context), answer, by, at)
        if answer == "rejected":
            raise AirflowFailException(f"{self.job}: {by} has rejected the plan; the job was not changed")
        if answer == "timed_out":
            raise AirflowFailException(
                f"{self.job}: the plan was not approved in time; the job was not changed; deploy again to get a new "
                "approval request"
            )
        return {"by": by, "at": at.isoformat()}

    def _ask(self, context: Context, project: Project, plan: Plan) -> None:
        from sluice.plan.approval import identity  # noqa: PLC0415
        from sluice.plan.markdown import escaped, markdown  # noqa: PLC0415

        self.response_timeout = self.patience or timedelta(hours=project.settings.approval_hours)
        until = datetime.now(UTC) + self.response_timeout
        link = f"{context['ti'].log_url.partition('?')[0]}/required_actions"
        approvals, asker, is_gone = project.ledger.approvals, self.holder(context), self.is_gone(context)
        # Before Airflow shows the question: a refused run would not wait for the answer.
        approvals.refuse_another(self.job, asker, is_gone)
        effects = {"loses state": plan.loses_state, "alters what its state means": plan.alters_state}
        effect = next((words for words, applies in effects.items() if applies), "can't be rolled back")
        self.subject = f"{self.job}: {plan.kind} that {effect}"
        reason = self.request(context).reason
        mark = f"Plan {identity(plan)}."
        self.body = "\n\n".join(
            [
                markdown(plan),
                *([f"Reason given: {escaped(reason)}"] if reason else []),
                f"Without an answer within {_words(self.response_timeout)} the plan is refused. The job keeps running.",
                mark,
            ]
        )
        if not create_question(self, context["ti"]).endswith(mark):
            approvals.answer(self.job, asker, "withdrawn")
            raise RefusedError(
                f"{self.job}: Airflow still shows this run's request for the approval of another plan",
                remedy=f"start a new run of {context['dag'].dag_id}, which shows the current plan",
            )
        # Recorded after Airflow shows the plan, so that the plan in the ledger is the one that is shown.
        why = plan.why_approval
        approvals.ask(asker, plan.model_dump(mode="json"), why, until=until, link=link, is_gone=is_gone)
        self._notify(context, project, plan, f"its {plan.kind} needs an approval: {why}; approve or reject it: {link}")

    def _notify(self, context: Context, project: Project, plan: Plan, words: str) -> None:
        from sluice.airflow.notifier_callbacks import notifier_callbacks  # noqa: PLC0415
        from sluice.fleet.notifications import notify_approval  # noqa: PLC0415

        ledger, callbacks = project.ledger, notifier_callbacks(self.plan_notifiers, context)
        errors = notify_approval(ledger.notifications, ledger.samples, plan, words, callbacks, project.clock.now())
        for error in errors:
            self.log.error("%s", error)


def given_approval(project: Project, job: str, asker: str) -> Approval | None:
    """The approval of this run's newest plan; None: it has none, or an operation has used it."""
    from sluice.plan.approval import Approval  # noqa: PLC0415
    from sluice.plan.model import Plan  # noqa: PLC0415

    ledger = project.ledger
    given = ledger.approvals.given(job, asker)
    if given is None or given.answered_by is None or given.answered_at is None:
        return None
    if ledger.has_used(job, asker, given.answered_at):
        return None
    return Approval(given.answered_by, given.answered_at, Plan.model_validate(given.plan))


def _words(time: timedelta) -> str:
    seconds = time.total_seconds()
    return f"{seconds / 3600:g} h" if seconds >= 3600 else f"{seconds:g} s"


def _responder(event: dict[str, Any]) -> str | None:
    """The person who answered; None: there was no answer in time."""
    user = event["responded_by_user"]
    if user is None:
        return None
    name, identity = user["name"], user["id"]
    return str(name) if name == identity else f"{name} ({identity})"
