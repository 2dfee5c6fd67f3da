"""The operators of redeploy_and_verify: check every job, find what each needs, and check again after operations."""

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
from sluice.airflow.deploy_run import describe_removed_file
from sluice.airflow.holders import run_of_task
from sluice.airflow.notifier_callbacks import notifier_callbacks
from sluice.settings import JOBS_PACKAGE

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sluice.airflow.sweep_runs import StartedRun
    from sluice.fleet.needs import Needed
    from sluice.fleet.notifications import Notify
    from sluice.fleet.reconcile import HolderEnded
    from sluice.fleet.rows import JobStatus
    from sluice.plan.request import DeployRequest
    from sluice.project import Project

CHANGES = "verdict_changes"
"""The XCom with the verdicts that have changed since the last sweep: a list of {job, old, new, state, reasons}."""

DOWN = "needs_a_person"
"""The XCom with a message for each job that is down and needs a person."""

REPORTS = "reports"
"""The XCom with the jobs that need a person though their verdicts have not changed, as in `verdict_changes`."""

FAILED_NOTIFIERS = "untold"
"""The XCom with the errors of notifiers."""


class _SweepingOperator(ProjectOperator):
    """Base of the sweep's operators: checks every job, records the result, and notifies of changed verdicts.

    Args:
        notifiers: Called with `changes` in their context when verdicts change or a job needs a person; not at each
            sweep. A notifier that fails is called again at the next sweep, and does not affect the others.
        budget: The time for planning; the next sweep starts with the jobs left unplanned. None: no limit.
        kwargs: See `ProjectOperator`.
    """

    def __init__(
        self, *, notifiers: Sequence[BaseNotifier] = (), budget: timedelta | None = None, **kwargs: Any
    ) -> None:
        super().__init__(**kwargs)
        self.notifiers = list(notifiers)
        self.budget = budget

    def sweep(self, project: Project, context: Context, has_ended: HolderEnded) -> tuple[list[JobStatus], list[str]]:
        """Check and record the whole fleet, and notify of changed verdicts; the jobs, and the notifiers' errors."""
        from sluice.fleet.notifications import notify_verdicts  # noqa: PLC0415

        rows = self.check_jobs(project, context["run_id"], has_ended)
        for row in rows:
            self.log.info("%s: %s, %s%s", row.job, row.state, row.verdict, "".join(f"; {r}" for r in row.reasons))
        _push(context, CHANGES, [])
        callbacks = self._callbacks("xcom", CHANGES, context)
        return rows, self.log_errors(notify_verdicts(project.ledger.notifications, rows, callbacks))

    def check_jobs(self, project: Project, run: str, has_ended: HolderEnded) -> list[JobStatus]:
        """Check and record the whole fleet; the jobs."""
        from sluice.fleet.status import sweep_and_record  # noqa: PLC0415

        return [found.status for found in sweep_and_record(project, run, has_ended)]

    def find_needs(self, project: Project, rows: Sequence[JobStatus], has_ended: HolderEnded) -> list[Needed]:
        """Find what the jobs of a sweep need."""
        from sluice.fleet.needs import find_needs  # noqa: PLC0415

        return find_needs(project, rows, self.log.info, has_ended=has_ended, budget=self.budget)

    def judge(self, project: Project, rows: Sequence[JobStatus], has_ended: HolderEnded) -> list[Needed]:
        """Find and log what the jobs of a sweep need."""
        needs = self.find_needs(project, rows, has_ended)
        for needed in needs:
            level = self.log.warning if needed.decision.need == "report" else self.log.info
            level("%s", needed.words)
        return needs

    def log_errors(self, errors: list[str]) -> list[str]:
        """Log and return the errors of notifiers."""
        for error in errors:
            self.log.error("%s", error)
        return errors

    def _callbacks(self, name: str, key: str, context: Context) -> dict[str, Notify]:
        """The notifiers, and one callback of this name that pushes an XCom."""
        return {name: partial(_push, context, key), **notifier_callbacks(self.notifiers, context)}


class SweepOperator(_SweepingOperator):
    """Check every job, and find what each needs."""

    def execute(self, context: Context) -> list[dict[str, Any]]:
        """The arguments of a run of deploy.<job> for each job that needs an operation or an approval."""
        from sluice.airflow.holders import ended_holders  # noqa: PLC0415
        from sluice.airflow.sweep_runs import running_runs, without_second_run  # noqa: PLC0415
        from sluice.fleet.notifications import new_approval_requests, notify_reports, unrequested_approvals  # noqa: PLC0415

        with airflow_errors():
            project = self.project()
            has_ended = ended_holders(context, project.ledger)
            known = self._known_runs(project, context)
            rows, errors = self.sweep(project, context, has_ended)
            running = running_runs(known, lambda job, run: _is_running(context, job, run))
            needs = without_second_run(self.judge(project, rows, has_ended), running)
            _record_runs(project, running)
            self._cancel_abandoned_replays(project, context)
            _push(context, DOWN, _describe_down(rows, needs))
            callbacks = self._callbacks("run", REPORTS, context)
            unrequested = unrequested_approvals(project.ledger.notifications)
            new_requests = new_approval_requests(project.ledger.notifications, needs)
            # The run that requests an approval notifies of it; if it could not be triggered, the next sweep does.
            reported = [needed for needed in needs if needed not in new_requests or needed.job in unrequested]
            errors += self.log_errors(notify_reports(project.ledger.notifications, rows, reported, callbacks))
        _push(context, FAILED_NOTIFIERS, errors)
        # Jobs that are down come first: SLUICE_SWEEP_OPERATIONS limits the parallel runs.
        first = sorted((each for each in needs if each.request), key=lambda each: each.decision.need == "redeploy")
        wanted = [_run(needed, needed.request, waits=True) for needed in first if needed.request]
        return [
            *wanted,
            *(_run(each, each.approval_request.request, waits=False) for each in new_requests if each.approval_request),
        ]

    def _known_runs(self, project: Project, context: Context) -> dict[str, StartedRun]:
        """The runs that the last sweep left running; records those that have failed since as failed attempts."""
        from sluice.airflow.sweep_runs import known_runs  # noqa: PLC0415

        known = known_runs(project.ledger.notifications)
        for job, started in known.items():
            if _has_failed(context, job, started.run):
                _record_failed_run(project, job, started.run, started.conf, datetime.fromisoformat(started.since))
        return known

    def _cancel_abandoned_replays(self, project: Project, context: Context) -> None:
        """Cancel the chunks of replays whose runs have ended; the next sweep tries again if that fails."""
        from sluice.airflow.holders import has_ended  # noqa: PLC0415
        from sluice.replay.run import cancel_abandoned  # noqa: PLC0415

        def is_over(taker: str) -> bool:
            return has_ended(context, run_of_task(taker))

        for problem in cancel_abandoned(project, is_over, self.log.info):
            self.log.error("%s", problem)


class VerifyOperator(_SweepingOperator):
    """Check again after operations; fail if one failed, a job needs a person, or a notifier failed.

    A job that is down and needs a person makes each run of the sweep fail; a job that runs and needs a person, only the
    first run that finds that.
    """

    def execute(self, context: Context) -> None:
        """Raise with everything that needs a person; return if nothing does."""
        from sluice.airflow.holders import ended_holders  # noqa: PLC0415
        from sluice.airflow.sweep_runs import known_runs, without_second_run  # noqa: PLC0415

        pull = partial(context["ti"].xcom_pull, task_ids="sweep")
        wanted = pull()
        if wanted is None:
            raise AirflowFailException("the fleet was not checked: see the log of the task sweep")
        failed = _failed(context, wanted)
        failed_dags = [each["trigger_dag_id"] for _, each in failed]
        self._request_again(context, failed)
        unfinished = self._unfinished(context, wanted)
        if any(each["wait_for_completion"] for each in wanted):
            with airflow_errors():
                project = self.project()
                self._record_failed_runs(project, context, failed)
                self._record_unfinished(project, unfinished)
                has_ended = ended_holders(context, project.ledger)
                rows, errors = self.sweep(project, context, has_ended)
                again = [row for row in rows if row.verdict == "failed" or f"deploy.{row.job}" in failed_dags]
                needs = self.judge(project, again, has_ended)
                needs = without_second_run(needs, known_runs(project.ledger.notifications))
                down = _describe_down(again, needs)
        else:
            needs, down, errors = [], pull(key=DOWN), pull(key=FAILED_NOTIFIERS)
        reports = [f"{each['job']}: {'; '.join(each['reasons'])}" for each in pull(key=REPORTS) or () if _is_up(each)]
        problems = [f"jobs need a person: {' | '.join([*down, *reports])}"] if down or reports else []
        problems += _describe_failed_runs(failed_dags, needs)
        problems += [
            describe_removed_file(f"deploy.{job}", run)
            for job, (run, _) in unfinished.items()
            if not self._has_file(job)
        ]
        if problems or errors:
            raise AirflowFailException(" | ".join([*problems, *errors]))

    def _request_again(self, context: Context, failed: Iterable[tuple[int, Mapping[str, Any]]]) -> None:
        """Mark approvals whose runs could not be created, so that the next sweep requests them again."""
        from sluice.fleet.notifications import mark_unrequested  # noqa: PLC0415

        requests = [(number, each) for number, each in failed if not each["wait_for_completion"]]
        unmade = [_job(each) for number, each in requests if _made_run(context, number) is None]
        if unmade:
            with airflow_errors():
                mark_unrequested(self.project().ledger.notifications, unmade)

    def _record_failed_runs(
        self, project: Project, context: Context, failed: Iterable[tuple[int, Mapping[str, Any]]]
    ) -> None:
        """Record the runs that failed before they began an operation as failed attempts.

        A run that could not be created doesn't count: its DAG is paused or missing, which a person has to correct.
        """
        since = project.ledger.samples.last_run()
        for number, each in failed:
            run = _made_run(context, number)
            if run and since and each["wait_for_completion"] and not _is_running(context, _job(each), run):
                _record_failed_run(project, _job(each), run, each["conf"], since)

    def _unfinished(
        self, context: Context, wanted: Sequence[Mapping[str, Any]]
    ) -> dict[str, tuple[str, Mapping[str, Any]]]:
        """The runs that the sweep waited for and that have not ended, each with its conf, by the job's name."""
        found: dict[str, tuple[str, Mapping[str, Any]]] = {}
        for number, each in enumerate(wanted):
            run = _made_run(context, number) if each["wait_for_completion"] else None
            if run and _is_running(context, _job(each), run):
                self.log.warning(
                    "run %s of %s still runs; the sweep no longer waits for it", run, each["trigger_dag_id"]
                )
                found[_job(each)] = (run, each["conf"])
        return found

    def _record_unfinished(self, project: Project, unfinished: Mapping[str, tuple[str, Mapping[str, Any]]]) -> None:
        """Record the runs that still run, so that the next sweep triggers no second run for their jobs."""
        from sluice.airflow.sweep_runs import StartedRun, known_runs  # noqa: PLC0415

        since = project.ledger.samples.last_run()
        if unfinished and since:
            new = {job: StartedRun.of(run, conf, since) for job, (run, conf) in unfinished.items()}
            _record_runs(project, {**known_runs(project.ledger.notifications), **new})

    def _has_file(self, job: str) -> bool:
        return self.root is None or (Path(self.root) / JOBS_PACKAGE / f"{job}.py").exists()


def _is_running(context: Context, job: str, run: str) -> bool:
    """Whether a run of the job's deploy DAG has not ended."""
    return bool(context["ti"].get_dr_count(f"deploy.{job}", run_ids=[run], states=["queued", "running"]))


def _has_failed(context: Context, job: str, run: str) -> bool:
    return bool(context["ti"].get_dr_count(f"deploy.{job}", run_ids=[run], states=["failed"]))


def _record_failed_run(project: Project, job: str, run: str, conf: Mapping[str, Any], since: datetime) -> None:
    """Record a failed run as a failed attempt, unless it began an operation, which is counted already."""
    from sluice.operation.failed_attempts import record_unless_begun  # noqa: PLC0415
    from sluice.plan.request import DeployRequest  # noqa: PLC0415

    dag = f"deploy.{job}"
    holder, why = f"airflow:{dag}/{run}", f"run {run} of {dag} failed before it began an operation"
    record_unless_begun(project, job, DeployRequest.from_params(conf), holder, why, since)


def _record_runs(project: Project, runs: Mapping[str, StartedRun]) -> None:
    from sluice.airflow.sweep_runs import record_runs  # noqa: PLC0415

    record_runs(project.ledger.notifications, runs)


def _job(wanted: Mapping[str, Any]) -> str:
    return str(wanted["trigger_dag_id"]).removeprefix("deploy.")


def _made_run(context: Context, number: int) -> str | None:
    """The id of the run that the mapped task of this number triggered; None: it triggered none."""
    run: str | None = context["ti"].xcom_pull(task_ids="operate", key=XCOM_RUN_ID, map_indexes=number)
    return run


def _failed(context: Context, wanted: Sequence[Mapping[str, Any]]) -> list[tuple[int, Mapping[str, Any]]]:
    """The requested runs that failed or could not be triggered, each with the number of its mapped task."""
    run = context["run_id"]
    found = context["ti"].get_task_states(dag_id=context["dag"].dag_id, task_ids=["operate"], run_ids=[run])
    states: Mapping[str, str] = found.get(run, {})
    # Mapped tasks are numbered in the order of the requested runs.
    return [
        (number, each)
        for number, each in enumerate(wanted)
        if states.get(f"operate_{number}", states.get("operate")) in ("failed", "upstream_failed")
    ]


def _describe_failed_runs(dags: Iterable[str], needs: Iterable[Needed]) -> list[str]:
    """A message for each failed run, with what its job needs now."""
    by_dag = {f"deploy.{needed.job}": needed.decision.why for needed in needs}
    return [
        f"a run of {dag} failed, or could not be triggered since its DAG is paused: see the task operate"
        + (f"; now: {by_dag[dag]}" if dag in by_dag else "")
        for dag in dags
    ]


def _push(context: Context, key: str, value: Any) -> None:
    context["ti"].xcom_push(key=key, value=value)


def _describe_down(rows: Iterable[JobStatus], needs: Iterable[Needed]) -> list[str]:
    """A message for each job that is down and needs a person."""
    down = {row.job for row in rows if row.verdict == "failed"}
    return [needed.words for needed in needs if needed.decision.need == "report" and needed.job in down]


def _is_up(report: Mapping[str, Any]) -> bool:
    """Whether the reported job runs; a job that is down has a message at each run of the sweep anyway."""
    return bool(report["new"] != "failed")


def _run(needed: Needed, request: DeployRequest, *, waits: bool) -> dict[str, Any]:
    """The arguments of a run of the job's deploy DAG.

    Args:
        needed: The job's need.
        request: The operation.
        waits: Whether the sweep waits for the run's end. Such a run never requests an approval, even if the job has
            changed since it was planned: the sweep would check no other job while a person decides.
    """
    from sluice.fleet.decision import SWEEP_NOTE  # noqa: PLC0415

    conf = {**request.params(), "reason": f"{SWEEP_NOTE}{needed.words}", "unattended": waits}
    return {"trigger_dag_id": f"deploy.{needed.job}", "conf": conf, "wait_for_completion": waits}
