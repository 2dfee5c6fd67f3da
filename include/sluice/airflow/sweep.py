"""The sweep of the fleet as operators: look at every job, say what each needs, and look again afterwards."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow.providers.standard.operators.trigger_dagrun import XCOM_RUN_ID
from airflow.sdk.bases.notifier import BaseNotifier
from airflow.sdk.exceptions import AirflowFailException

from sluice.airflow.base import ProjectOperator, airflow_errors
from sluice.airflow.deploy_run import removed_words
from sluice.airflow.holders import run_of_task
from sluice.airflow.notifier_callbacks import listeners
from sluice.settings import JOBS_PACKAGE

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.airflow.sweep_runs import GoingRun
    from sluice.fleet.needs import Needed
    from sluice.fleet.notifications import Listener
    from sluice.fleet.reconcile import IsGone
    from sluice.fleet.rows import JobStatus
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
        budget: How long it may plan; what is not planned by then is planned first by the next sweep. None: no limit.
        kwargs: See `ProjectOperator`.
    """

    def __init__(
        self, *, notifiers: Sequence[BaseNotifier] = (), budget: timedelta | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.notifiers = list(notifiers)
        self.budget = budget

    def sweep(self, project: Project, context: Context, gone: IsGone) -> tuple[list[JobStatus], list[str]]:
        """Look at the whole fleet, and tell of verdicts; the rows, and which notifiers have failed."""
        from sluice.fleet.notifications import notify_verdicts  # noqa: PLC0415
        from sluice.fleet.status import sweep_and_record  # noqa: PLC0415

        rows = [found.status for found in sweep_and_record(project, context["run_id"], gone)]
        for row in rows:
            self.log.info("%s: %s, %s%s", row.job, row.state, row.verdict, "".join(f"; {r}" for r in row.reasons))
        _push(context, CHANGES, [])
        told: dict[str, Listener] = {"xcom": partial(_push, context, CHANGES), **listeners(self.notifiers, context)}
        return rows, self.logged(notify_verdicts(project.ledger.told, rows, told))

    def judge(self, project: Project, rows: Sequence[JobStatus], gone: IsGone) -> list[Needed]:
        """What the jobs of a sweep need."""
        from sluice.fleet.needs import find_needs  # noqa: PLC0415

        needs = find_needs(project, rows, self.log.info, gone=gone, budget=self.budget)
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
        from sluice.airflow.holders import ended_holders  # noqa: PLC0415
        from sluice.airflow.sweep_runs import still_going, without_second_run  # noqa: PLC0415
        from sluice.fleet.notifications import new_approval_requests, notify_reports, unrequested_approvals  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            gone = ended_holders(context, project.ledger)
            known = self._known_runs(project, context)
            rows, untold = self.sweep(project, context, gone)
            going = still_going(known, lambda job, run: _goes_on(context, job, run))
            needs = without_second_run(self.judge(project, rows, gone), going)
            _keep_going(project, going)
            self._end_abandoned(project, context)
            _push(context, CRIES, _cries(rows, needs))
            told: dict[str, Listener] = {"run": partial(_push, context, REPORTS), **listeners(self.notifiers, context)}
            in_vain = unrequested_approvals(project.ledger.told)
            asks = new_approval_requests(project.ledger.told, needs)
            # The run that asks tells of it; the next sweep does where that has not come about.
            reported = [needed for needed in needs if needed not in asks or needed.job in in_vain]
            untold += self.logged(notify_reports(project.ledger.told, rows, reported, told))
        _push(context, UNTOLD, untold)
        # A job that is down comes first: so many run at once as SLUICE_SWEEP_OPERATIONS says.
        first = sorted((each for each in needs if each.request), key=lambda each: each.decision.need == "redeploy")
        wanted = [_run(needed, needed.request, waits=True) for needed in first if needed.request]
        return [*wanted, *(_run(each, each.to_ask.request, waits=False) for each in asks if each.to_ask)]

    def _known_runs(self, project: Project, context: Context) -> dict[str, GoingRun]:
        """The runs that a sweep before has not seen to their ends; those that have failed since are counted."""
        from sluice.airflow.sweep_runs import known_runs  # noqa: PLC0415

        known = known_runs(project.ledger.told)
        for job, going in known.items():
            if _has_failed(context, job, going.run):
                _count_run(project, job, going.run, going.conf, datetime.fromisoformat(going.since))
        return known

    def _end_abandoned(self, project: Project, context: Context) -> None:
        """End what runs have left of their replays; what doesn't end now is tried again by the next sweep."""
        from sluice.airflow.holders import has_ended  # noqa: PLC0415
        from sluice.replay.run import cancel_abandoned  # noqa: PLC0415

        def is_over(taker: str) -> bool:
            return has_ended(context, run_of_task(taker))

        for words in cancel_abandoned(project, is_over, self.log.info):
            self.log.error("%s", words)


class VerifyOperator(_SweepingOperator):
    """Look again if something was done; fail where that failed, a person has to look, or a notifier has failed.

    A job that is down and needs a person makes each run fail, one that runs and needs a person only the first.
    """

    def execute(self, context: Context) -> None:
        """Raise, or be content."""
        from sluice.airflow.holders import ended_holders  # noqa: PLC0415
        from sluice.airflow.sweep_runs import known_runs, without_second_run  # noqa: PLC0415

        pull = partial(context["ti"].xcom_pull, task_ids="sweep")
        wanted = pull()
        if wanted is None:
            raise AirflowFailException("nobody has looked at the fleet: the task sweep says why")
        failed = _failed(context, wanted)
        undone = [each["trigger_dag_id"] for _, each in failed]
        self._ask_again(context, failed)
        going = self._not_awaited(context, wanted)
        if any(each["wait_for_completion"] for each in wanted):
            with airflow_errors():
                project = self.project()
                self._count(project, context, failed)
                self._keep_not_awaited(project, going)
                gone = ended_holders(context, project.ledger)
                rows, untold = self.sweep(project, context, gone)
                again = [row for row in rows if row.verdict == "failed" or f"deploy.{row.job}" in undone]
                needs = without_second_run(self.judge(project, again, gone), known_runs(project.ledger.told))
                cries = _cries(again, needs)
        else:
            needs, cries, untold = [], pull(key=CRIES), pull(key=UNTOLD)
        reports = [f"{each['job']}: {'; '.join(each['reasons'])}" for each in pull(key=REPORTS) or () if _runs(each)]
        words = [f"a person has to look: {' | '.join([*cries, *reports])}"] if cries or reports else []
        words += _said(undone, needs)
        words += [removed_words(f"deploy.{job}", run) for job, (run, _) in going.items() if not self._has_file(job)]
        if words or untold:
            raise AirflowFailException(" | ".join([*words, *untold]))

    def _ask_again(self, context: Context, failed: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Have the next sweep ask a person, where the run that was to ask could not be made."""
        from sluice.fleet.notifications import mark_unrequested  # noqa: PLC0415

        asking = [(number, each) for number, each in failed if not each["wait_for_completion"]]
        unmade = [_job(each) for number, each in asking if _run_made(context, number) is None]
        if unmade:
            with airflow_errors():
                mark_unrequested(self.project().ledger.told, unmade)

    def _count(self, project: Project, context: Context, failed: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Count the runs that have failed before they had begun anything, whatever has ended them.

        One that could not be made is none: its DAG is paused, or gone, which is over at once when somebody mends it.
        """
        since = project.ledger.samples.last_run()
        for number, each in failed:
            run = _run_made(context, number)
            if run and since and each["wait_for_completion"] and not _goes_on(context, _job(each), run):
                _count_run(project, _job(each), run, each["conf"], since)

    def _not_awaited(
        self, context: Context, wanted: Sequence[Mapping[str, Any]]
    ) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """The runs that were waited for and have not ended, by the job's name; each with what it was asked for."""
        found: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for number, each in enumerate(wanted):
            run = _run_made(context, number) if each["wait_for_completion"] else None
            if run and _goes_on(context, _job(each), run):
                self.log.warning("run %s of %s goes on: it is not waited for any longer", run, each["trigger_dag_id"])
                found[_job(each)] = (run, each["conf"])
        return found

    def _keep_not_awaited(self, project: Project, going: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
        """Let the next sweep find the runs that go on: it makes no second one beside them."""
        from sluice.airflow.sweep_runs import GoingRun, known_runs  # noqa: PLC0415

        since = project.ledger.samples.last_run()
        if going and since:
            new = {job: GoingRun.of(run, conf, since) for job, (run, conf) in going.items()}
            _keep_going(project, {**known_runs(project.ledger.told), **new})

    def _has_file(self, job: str) -> bool:
        return self.root is None or (Path(self.root) / JOBS_PACKAGE / f"{job}.py").exists()


def _goes_on(context: Context, job: str, run: str) -> bool:
    """Whether a run of the job's deploy DAG has not ended."""
    return bool(context["ti"].get_dr_count(f"deploy.{job}", run_ids=[run], states=["queued", "running"]))


def _has_failed(context: Context, job: str, run: str) -> bool:
    return bool(context["ti"].get_dr_count(f"deploy.{job}", run_ids=[run], states=["failed"]))


def _count_run(project: Project, job: str, run: str, conf: Mapping[str, Any], since: datetime) -> None:
    """Count a run that has failed, unless it had begun something."""
    from sluice.airflow.params import deploy_request  # noqa: PLC0415
    from sluice.operation.failed_attempts import record_unless_begun  # noqa: PLC0415

    dag = f"deploy.{job}"
    holder, why = f"airflow:{dag}/{run}", f"run {run} of {dag} has failed before it had begun anything"
    record_unless_begun(project, job, deploy_request(conf), holder, why, since)


def _keep_going(project: Project, going: Mapping[str, GoingRun]) -> None:
    from sluice.airflow.sweep_runs import keep_runs  # noqa: PLC0415

    keep_runs(project.ledger.told, going)


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
