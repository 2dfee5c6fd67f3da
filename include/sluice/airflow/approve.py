"""Asking a person about a plan that needs an approval: in Airflow's human-in-the-loop, with nothing held meanwhile.

What was asked and what the answer was stands in the ledger; whoever carries the plan out reads it there.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.hitl import HITLOperator
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskAwaitingInput

from sluice.airflow.base import RequestOperator, airflow_errors
from sluice.errors import RefusedError

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.ledger.approvals import Answer
    from sluice.plan.approval import Approval
    from sluice.plan.model import Plan
    from sluice.project import Project

APPROVE, REJECT = "Approve", "Reject"


class ApproveOperator(RequestOperator, HITLOperator):
    """Wait until a person has approved a plan that needs it; fail where it is rejected, or nobody answers in time.

    Skipped where the plan loses nothing, or was approved ahead; in a run that nobody attends to it fails at once. While
    it waits, neither a worker slot nor a trigger nor the job is held: the job may be recovered, or deployed otherwise,
    meanwhile. What is carried out afterwards must not lose more than was approved.

    Args:
        plan: The plan task's output (templated).
        notifiers: Told that a plan waits, with `changes` in their context as those of the sweep.
        patience: How long to wait; None: SLUICE_APPROVAL_HOURS.
    """

    # Subject and body are no templates: they hold text of the job's settings and of the requester.
    template_fields = ("plan", *RequestOperator.template_fields)

    def __init__(
        self,
        *,
        plan: Any,
        notifiers: Sequence[BaseNotifier] = (),
        patience: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(subject="a plan", options=[APPROVE, REJECT], defaults=REJECT, **kwargs)
        self.plan = plan
        self.patience = patience
        self.listening = list(notifiers)

    def execute(self, context: Context) -> Any:
        """Ask, and wait; see `execute_complete`."""
        from sluice.plan.approval import beyond  # noqa: PLC0415
        from sluice.plan.model import Plan  # noqa: PLC0415

        plan, wanted = Plan.model_validate(self.plan), self.request(context)
        if not plan.needs_approval:
            raise AirflowSkipException("the plan loses nothing")
        if wanted.allow_state_loss:
            raise AirflowSkipException("it was approved ahead")
        if wanted.unattended:
            raise AirflowFailException(
                f"{self.job}: the plan needs an approval, and this run asks nobody: {plan.why_approval}; nothing was "
                "touched; deploy again, which asks"
            )
        with airflow_errors():
            project = self.project()
            given = given_approval(project, self.job, self.holder(context))
            if given is not None and given.plan is not None and not beyond(plan, given.plan):
                return {"by": given.by, "at": given.at.isoformat()}
            self._ask(context, project, plan)
        # As `HITLOperator.execute` ends, which would show the question once more, and wipe an answer to it.
        raise TaskAwaitingInput(method_name="execute_complete", timeout=self.response_timeout)

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
        from sluice.plan.approval import identity  # noqa: PLC0415
        from sluice.plan.markdown import escaped, markdown  # noqa: PLC0415

        self.response_timeout = self.patience or timedelta(hours=project.settings.approval_hours)
        until = datetime.now(UTC) + self.response_timeout
        link = f"{context['ti'].log_url.partition('?')[0]}/required_actions"
        approvals, asker, is_gone = project.ledger.approvals, self.holder(context), self.is_gone(context)
        # Before anything is shown: nobody would wait for an answer to it.
        approvals.refuse_another(self.job, asker, is_gone)
        fates = {"loses state": plan.loses_state, "alters what its state means": plan.alters_state}
        fate = next((words for words, applies in fates.items() if applies), "has no way back")
        self.subject = f"{self.job}: {plan.kind} that {fate}"
        reason = self.request(context).reason
        mark = f"Plan {identity(plan)}."
        self.body = "\n\n".join(
            [
                markdown(plan),
                *([f"Reason given: {escaped(reason)}"] if reason else []),
                f"Without an answer within {_words(self.response_timeout)} it is refused. Meanwhile the job goes on.",
                mark,
            ]
        )
        if not self._show(context).endswith(mark):
            approvals.answer(self.job, asker, "withdrawn")
            raise RefusedError(
                f"{self.job}: this run has asked about another plan before, which Airflow goes on showing",
                remedy=f"start a new run of {context['dag'].dag_id}: it shows the plan of now",
            )
        # From here on: what the ledger says that was asked is what is shown.
        why = plan.why_approval
        approvals.ask(asker, plan.model_dump(mode="json"), why, until=until, link=link, is_gone=is_gone)
        self._tell(context, project, plan, f"its {plan.kind} needs an approval: {why}; approve or reject it: {link}")

    def _show(self, context: Context) -> str:
        """Have Airflow show the question; the text that is shown.

        Airflow keeps what a task has asked first, whatever it asks when it was cleared, and forgets the answer alone.
        """
        from airflow.sdk.execution_time.comms import CreateHITLDetailPayload, HITLDetailRequestResult  # noqa: PLC0415
        from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS  # noqa: PLC0415

        # As `upsert_hitl_detail`, which tells nothing of what comes back.
        shown = SUPERVISOR_COMMS.send(
            CreateHITLDetailPayload(
                ti_id=context["ti"].id,
                options=self.options,
                subject=self.subject,
                body=self.body,
                defaults=self.defaults,
                params=self.serialized_params,
                multiple=self.multiple,
                assigned_users=self.assigned_users or [],
            )
        )
        return (shown.body or "") if isinstance(shown, HITLDetailRequestResult) else ""

    def _tell(self, context: Context, project: Project, plan: Plan, words: str) -> None:
        from sluice.airflow.notifier_callbacks import notifier_callbacks  # noqa: PLC0415
        from sluice.fleet.notifications import notify_approval  # noqa: PLC0415

        ledger = project.ledger
        untold = notify_approval(
            ledger.notifications, ledger.samples, plan, words, notifier_callbacks(self.listening, context)
        )
        for line in untold:
            self.log.error("%s", line)


def given_approval(project: Project, job: str, asker: str) -> Approval | None:
    """What was approved of this run's newest plan, unless that is spent; None: nothing."""
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
    """Who has answered; None: nobody, the time is over."""
    user = event["responded_by_user"]
    if user is None:
        return None
    name, identity = user["name"], user["id"]
    return str(name) if name == identity else f"{name} ({identity})"
