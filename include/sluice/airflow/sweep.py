"""The sweep of the fleet as operators: look at every job, say what each needs, and look again afterwards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.base import ProjectOperator, airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.fleet.needs import Needed
    from sluice.fleet.rows import JobStatus
    from sluice.plan.request import Request
    from sluice.project import Project

CHANGES = "verdict_changes"
"""The XCom with the verdicts that have changed since the sweep before: a list of {job, old, new, reasons}."""

CRIES = "needs_a_person"
"""The XCom of what is to be said of jobs that are down and need a person."""


class _SweepingOperator(ProjectOperator):
    """Base: sweeps, records, and tells of verdicts that have changed.

    Args:
        notifiers: Told when verdicts change, with `changes` in their context; not at each sweep.
        kwargs: See `ProjectOperator`.
    """

    def __init__(self, *, notifiers: Sequence[BaseNotifier] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.notifiers = list(notifiers)

    def sweep(self, project: Project, context: Context) -> list[JobStatus]:
        """Look at the whole fleet; the rows."""
        from sluice.fleet.changes import changes  # noqa: PLC0415
        from sluice.fleet.status import sweep_and_record  # noqa: PLC0415

        before = {sample.job: sample.verdict for sample in project.ledger.samples.last_sweep()}
        rows = [found.status for found in sweep_and_record(project)]
        for row in rows:
            self.log.info("%s: %s, %s%s", row.job, row.state, row.verdict, "".join(f"; {r}" for r in row.reasons))
        changed = changes(before, rows)
        context["ti"].xcom_push(key=CHANGES, value=changed)
        if changed:
            told = {**context, "changes": changed}
            for notifier in self.notifiers:
                notifier(told)
        return rows

    def judge(self, project: Project, context: Context, *, down_alone: bool = False) -> tuple[list[Needed], list[str]]:
        """Sweep; what the jobs need, or those that are down, and what is to be said of those that need a person."""
        from sluice.fleet.needs import find_needs  # noqa: PLC0415

        rows = [row for row in self.sweep(project, context) if row.verdict == "failed" or not down_alone]
        needs = find_needs(project, rows, self.log.info)
        for needed in needs:
            level = self.log.warning if needed.decision.need == "report" else self.log.info
            level("%s", needed.words)
        down = {row.job for row in rows if row.verdict == "failed"}
        return needs, [needed.words for needed in needs if needed.decision.need == "report" and needed.job in down]


class SweepOperator(_SweepingOperator):
    """Look at every job, and say what each needs."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """For each job to which something is to be done, the arguments of a run of its deploy DAG."""
        with airflow_errors():
            needs, cries = self.judge(self.project(), context)
        context["ti"].xcom_push(key=CRIES, value=cries)
        return [
            {"trigger_dag_id": f"deploy.{needed.job}", "conf": _conf(needed.request, needed.words)}
            for needed in needs
            if needed.request
        ]


class VerifyOperator(_SweepingOperator):
    """Look again if something was done, and fail where a job is down and needs a person."""

    def execute(self, context: Context) -> None:
        """Raise, or be content."""
        ti = context["ti"]
        if ti.xcom_pull(task_ids="sweep"):
            with airflow_errors():
                _, cries = self.judge(self.project(), context, down_alone=True)
        else:
            cries = ti.xcom_pull(task_ids="sweep", key=CRIES)
        if cries:
            raise AirflowFailException("a person has to look: " + " | ".join(cries))


def _conf(request: Request, words: str) -> Mapping[str, Any]:
    """The request as the trigger form's fields."""
    conf: dict[str, Any] = {"operation": request.kind, "reason": f"redeploy_and_verify: {words}"}
    if request.to is not None:
        conf["to_release"] = request.to
    if request.mode is not None:
        conf["mode"] = request.mode
    return conf
