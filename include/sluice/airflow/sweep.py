"""The sweep of the fleet as operators: look at every job, say what each needs, and look again afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import XCOM_RUN_ID
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.base import ProjectOperator, airflow_errors, run_of_task
from sluice.airflow.listening import listeners

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.fleet.needs import Needed
    from sluice.fleet.rows import JobStatus
    from sluice.fleet.standing import IsGone
    from sluice.fleet.telling import Listener
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

    def sweep(self, project: Project, context: Context, gone: IsGone) -> tuple[list[JobStatus], list[str]]:
        """Look at the whole fleet, and tell of verdicts; the rows, and which notifiers have failed."""
        from sluice.fleet.status import sweep_and_record  # noqa: PLC0415
        from sluice.fleet.telling import tell_verdicts  # noqa: PLC0415

        rows = [found.status for found in sweep_and_record(project, context["run_id"], gone)]
        for row in rows:
            self.log.info("%s: %s, %s%s", row.job, row.state, row.verdict, "".join(f"; {r}" for r in row.reasons))
        _push(context, CHANGES, [])
        told: dict[str, Listener] = {"xcom": partial(_push, context, CHANGES), **listeners(self.notifiers, context)}
        return rows, self.logged(tell_verdicts(project.ledger.told, rows, told))

    def judge(self, project: Project, rows: Sequence[JobStatus], gone: IsGone) -> list[Needed]:
        """What the jobs of a sweep need."""
        from sluice.fleet.needs import find_needs  # noqa: PLC0415

        needs = find_needs(project, rows, self.log.info, gone=gone)
        for needed in needs:
            level = self.log.warning if needed.decision.need == "report" else self.log.info
            level("%s", needed.words)
        return needs

    def logged(self, untold: list[str]) -> list[str]:
        """Log which notifiers have failed."""
        for words in untold:
            self.log.error("%s", words)
        return untold


class SweepOperator(_SweepingOperator):
    """Look at every job, and say what each needs."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """For each job to which something is to be done, or asked, the arguments of a run of its deploy DAG."""
        from sluice.airflow.turn import ended_holders  # noqa: PLC0415
        from sluice.fleet.telling import newly_to_ask, not_asked, tell_reports  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            gone = ended_holders(context, project.ledger)
            rows, untold = self.sweep(project, context, gone)
            self._end_abandoned(project, context)
            needs = self.judge(project, rows, gone)
            _push(context, CRIES, _cries(rows, needs))
            told: dict[str, Listener] = {"run": partial(_push, context, REPORTS), **listeners(self.notifiers, context)}
            in_vain = not_asked(project.ledger.told)
            asks = newly_to_ask(project.ledger.told, needs)
            # The run that asks tells of it; the next sweep does where that has not come about.
            reported = [needed for needed in needs if needed not in asks or needed.job in in_vain]
            untold += self.logged(tell_reports(project.ledger.told, rows, reported, told))
        _push(context, UNTOLD, untold)
        wanted = [_run(needed, needed.request, waits=True) for needed in needs if needed.request]
        return [*wanted, *(_run(each, each.to_ask.request, waits=False) for each in asks if each.to_ask)]

    def _end_abandoned(self, project: Project, context: Context) -> None:
        """End what runs have left of their replays; what doesn't end now is tried again by the next sweep."""
        from sluice.airflow.turn import has_ended  # noqa: PLC0415
        from sluice.replay.run import end_abandoned  # noqa: PLC0415

        def is_over(taker: str) -> bool:
            return has_ended(context, run_of_task(taker))

        for words in end_abandoned(project, is_over, self.log.info):
            self.log.error("%s", words)


class VerifyOperator(_SweepingOperator):
    """Look again if something was done; fail where that failed, a person has to look, or a notifier has failed.

    A job that is down and needs a person makes each run fail, one that runs and needs a person only the first.
    """

    def execute(self, context: Context) -> None:
        """Raise, or be content."""
        from sluice.airflow.turn import ended_holders  # noqa: PLC0415

        pull = partial(context["ti"].xcom_pull, task_ids="sweep")
        wanted = pull()
        if wanted is None:
            raise AirflowFailException("nobody has looked at the fleet: the task sweep says why")
        failed = _failed(context, wanted)
        undone = [each["trigger_dag_id"] for _, each in failed]
        self._ask_again(context, failed)
        if any(each["wait_for_completion"] for each in wanted):
            with airflow_errors():
                project = self.project()
                self._count(project, context, failed)
                gone = ended_holders(context, project.ledger)
                rows, untold = self.sweep(project, context, gone)
                again = [row for row in rows if row.verdict == "failed" or f"deploy.{row.job}" in undone]
                needs = self.judge(project, again, gone)
                cries = _cries(again, needs)
        else:
            needs, cries, untold = [], pull(key=CRIES), pull(key=UNTOLD)
        reports = [f"{each['job']}: {'; '.join(each['reasons'])}" for each in pull(key=REPORTS) or () if _runs(each)]
        words = [f"a person has to look: {' | '.join([*cries, *reports])}"] if cries or reports else []
        words += _said(undone, needs)
        if words or untold:
            raise AirflowFailException(" | ".join([*words, *untold]))

    def _ask_again(self, context: Context, failed: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Have the next sweep ask a person, where the run that was to ask could not be made."""
        from sluice.fleet.telling import asked_in_vain  # noqa: PLC0415

        asking = [(number, each) for number, each in failed if not each["wait_for_completion"]]
        unmade = [_job(each) for number, each in asking if _run_made(context, number) is None]
        if unmade:
            with airflow_errors():
                asked_in_vain(self.project().ledger.told, unmade)

    def _count(self, project: Project, context: Context, failed: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Count the runs that have failed before they had begun anything, whatever has ended them.

        One that could not be made is none: its DAG is paused, or gone, which is over at once when somebody mends it.
        """
        from sluice.airflow.params import deploy_request  # noqa: PLC0415
        from sluice.operation.unbegun import record_unless_begun  # noqa: PLC0415

        since = project.ledger.samples.last_run()
        for number, each in failed:
            run, dag = _run_made(context, number), each["trigger_dag_id"]
            if run and since and each["wait_for_completion"]:
                holder, why = f"airflow:{dag}/{run}", f"run {run} of {dag} has failed before it had begun anything"
                record_unless_begun(project, _job(each), deploy_request(each["conf"]), holder, why, since)


def _job(wanted: Mapping[str, Any]) -> str:
    return str(wanted["trigger_dag_id"]).removeprefix("deploy.")


def _run_made(context: Context, number: int) -> str | None:
    """The id of the run that was wanted with this number; None: it could not be made."""
    run: str | None = context["ti"].xcom_pull(task_ids="operate", key=XCOM_RUN_ID, map_indexes=number)
    return run


def _failed(context: Context, wanted: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """The runs that were wanted and did not come to a good end, or were not even made; each with its number."""
    run = context["run_id"]
    found = context["ti"].get_task_states(dag_id=context["dag"].dag_id, task_ids=["operate"], run_ids=[run])
    states: Mapping[str, str] = found.get(run, {})
    # A mapped task is told by its number, in the order of what was wanted.
    return [
        (number, each)
        for number, each in enumerate(wanted)
        if states.get(f"operate_{number}", states.get("operate")) in ("failed", "upstream_failed")
    ]


def _said(undone: Iterable[str], needs: Iterable[Needed]) -> list[str]:
    """What is to be said of runs that came to nothing, with what their jobs need now."""
    by_dag = {f"deploy.{needed.job}": needed.decision.why for needed in needs}
    return [
        f"a run of {dag} has failed, or could not be made, as where its DAG is paused: the task operate says which"
        + (f"; now: {by_dag[dag]}" if dag in by_dag else "")
        for dag in undone
    ]


def _push(context: Context, key: str, value: Any) -> None:
    context["ti"].xcom_push(key=key, value=value)


def _cries(rows: Iterable[JobStatus], needs: Iterable[Needed]) -> list[str]:
    """What is to be said of jobs that are down and need a person."""
    down = {row.job for row in rows if row.verdict == "failed"}
    return [needed.words for needed in needs if needed.decision.need == "report" and needed.job in down]


def _runs(report: Mapping[str, Any]) -> bool:
    """What is down is cried out at each run."""
    return bool(report["new"] != "failed")


def _run(needed: Needed, request: Request, *, waits: bool) -> dict[str, Any]:
    """The arguments of a run of the job's deploy DAG; whether its end is waited for: not where it asks a person.

    One that is waited for asks nobody, whatever has changed since it was planned: no other job would be looked at
    meanwhile.
    """
    conf = {**_conf(request, needed.words), "unattended": waits}
    return {"trigger_dag_id": f"deploy.{needed.job}", "conf": conf, "wait_for_completion": waits}


def _conf(request: Request, words: str) -> Mapping[str, Any]:
    """The request as the trigger form's fields."""
    conf: dict[str, Any] = {"operation": request.kind, "reason": f"redeploy_and_verify: {words}"}
    if request.to is not None:
        conf["to_release"] = request.to
    if request.seen is not None:
        conf["seen_release"] = request.seen
    if request.mode is not None:
        conf["mode"] = request.mode
    return conf
