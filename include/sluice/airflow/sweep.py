"""The sweep of the fleet as operators: look at every job, say what each needs, and look again afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from copy import copy
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.base import ProjectOperator, airflow_errors

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.fleet.needs import Needed
    from sluice.fleet.rows import JobStatus
    from sluice.fleet.telling import Listener, News
    from sluice.plan.request import Request
    from sluice.project import Project

CHANGES = "verdict_changes"
"""The XCom with the verdicts that have changed since the sweep before: a list of {job, old, new, state, reasons}."""

CRIES = "needs_a_person"
"""The XCom of what is to be said of jobs that are down and need a person."""

REPORTS = "reports"
"""The XCom of jobs that need a person though their verdicts have not changed; as `verdict_changes`."""

UNTOLD = "untold"
"""The XCom of notifiers that have failed, and why."""


class _SweepingOperator(ProjectOperator):
    """Base: sweeps, records, and tells of verdicts that have changed.

    Args:
        notifiers: Told when verdicts change or a job needs a person, with `changes` in their context; not at each
            sweep. One that fails is told again at the next sweep, and hinders nothing else.
        kwargs: See `ProjectOperator`.
    """

    def __init__(self, *, notifiers: Sequence[BaseNotifier] = (), **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.notifiers = list(notifiers)

    def sweep(self, project: Project, context: Context) -> tuple[list[JobStatus], list[str]]:
        """Look at the whole fleet, and tell of verdicts; the rows, and which notifiers have failed."""
        from sluice.fleet.status import sweep_and_record  # noqa: PLC0415
        from sluice.fleet.telling import tell_verdicts  # noqa: PLC0415

        rows = [found.status for found in sweep_and_record(project, context["run_id"])]
        for row in rows:
            self.log.info("%s: %s, %s%s", row.job, row.state, row.verdict, "".join(f"; {r}" for r in row.reasons))
        _push(context, CHANGES, [])
        listeners: dict[str, Listener] = {"xcom": partial(_push, context, CHANGES), **self.listeners(context)}
        return rows, self.logged(tell_verdicts(project.ledger.told, rows, listeners))

    def judge(self, project: Project, rows: Sequence[JobStatus]) -> list[Needed]:
        """What the jobs of a sweep need."""
        from sluice.fleet.needs import find_needs  # noqa: PLC0415

        needs = find_needs(project, rows, self.log.info)
        for needed in needs:
            level = self.log.warning if needed.decision.need == "report" else self.log.info
            level("%s", needed.words)
        return needs

    def listeners(self, context: Context) -> dict[str, Listener]:
        """The notifiers by their class, and number where there are several of one: what they were told goes by that."""
        found: dict[str, Listener] = {}
        for notifier in self.notifiers:
            kind = type(notifier).__name__
            number = 1 + sum(name.split()[0] == kind for name in found)
            found[kind if number == 1 else f"{kind} {number}"] = partial(_notify, notifier, context)
        return found

    def logged(self, untold: list[str]) -> list[str]:
        """Log which notifiers have failed."""
        for words in untold:
            self.log.error("%s", words)
        return untold


class SweepOperator(_SweepingOperator):
    """Look at every job, and say what each needs."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """For each job to which something is to be done, the arguments of a run of its deploy DAG."""
        from sluice.fleet.telling import tell_reports  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            rows, untold = self.sweep(project, context)
            needs = self.judge(project, rows)
            _push(context, CRIES, _cries(rows, needs))
            listeners: dict[str, Listener] = {"run": partial(_push, context, REPORTS), **self.listeners(context)}
            untold += self.logged(tell_reports(project.ledger.told, rows, needs, listeners))
        _push(context, UNTOLD, untold)
        return [
            {"trigger_dag_id": f"deploy.{needed.job}", "conf": _conf(needed.request, needed.words)}
            for needed in needs
            if needed.request
        ]


class VerifyOperator(_SweepingOperator):
    """Look again if something was done; fail where a person has to look, or a notifier has failed.

    A job that is down and needs a person makes each run fail, one that runs and needs a person only the first.
    """

    def execute(self, context: Context) -> None:
        """Raise, or be content."""
        pull = partial(context["ti"].xcom_pull, task_ids="sweep")
        if pull():
            with airflow_errors():
                project = self.project()
                rows, untold = self.sweep(project, context)
                down = [row for row in rows if row.verdict == "failed"]
                cries = _cries(down, self.judge(project, down))
        else:
            cries, untold = pull(key=CRIES), pull(key=UNTOLD)
        reports = [f"{each['job']}: {'; '.join(each['reasons'])}" for each in pull(key=REPORTS) or () if _runs(each)]
        words = [f"a person has to look: {' | '.join([*cries, *reports])}"] if cries or reports else []
        if words or untold:
            raise AirflowFailException(" | ".join([*words, *untold]))


def _push(context: Context, key: str, value: Any) -> None:
    context["ti"].xcom_push(key=key, value=value)


def _notify(notifier: BaseNotifier, context: Context, news: News) -> None:
    """Call a copy: a notifier renders its templates in place, and would say the same again the next time."""
    copy(notifier)({**context, "changes": news})


def _cries(rows: Iterable[JobStatus], needs: Iterable[Needed]) -> list[str]:
    """What is to be said of jobs that are down and need a person."""
    down = {row.job for row in rows if row.verdict == "failed"}
    return [needed.words for needed in needs if needed.decision.need == "report" and needed.job in down]


def _runs(report: Mapping[str, Any]) -> bool:
    """What is down is cried out at each run."""
    return bool(report["new"] != "failed")


def _conf(request: Request, words: str) -> Mapping[str, Any]:
    """The request as the trigger form's fields."""
    conf: dict[str, Any] = {"operation": request.kind, "reason": f"redeploy_and_verify: {words}"}
    if request.to is not None:
        conf["to_release"] = request.to
    if request.mode is not None:
        conf["mode"] = request.mode
    return conf
