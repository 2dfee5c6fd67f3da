"""Run operations from the shell, several jobs in parallel, and print a row for each."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any

from sluice.cli.output import print_json
from sluice.errors import SluiceError
from sluice.fleet.members import all_names
from sluice.operation.holder import shell_holder
from sluice.operation.run import Result, make_plan, run_operation
from sluice.operation.savepoint import take_savepoint
from sluice.plan.explain import explain
from sluice.plan.model import Plan
from sluice.plan.request import DeployRequest
from sluice.project import Project
from sluice.release.compiler import Compiler
from sluice.terminal import console, print_table, progress_printer, show_error

_PARALLEL = 4
"""How many jobs run in parallel: each has a client process of about 600 MB for some seconds."""


def plan_jobs(project: Project, jobs: Sequence[str], request: DeployRequest, *, json: bool) -> None:
    """Print the plans of the given jobs, or of all; exit with status 2 if one is refused or a job file is broken."""
    plans: list[Plan] = []
    errors: list[SluiceError] = [] if jobs else project.catalog.errors
    for job in jobs or project.enabled_jobs():
        try:
            plans.append(make_plan(project, job, request, progress_printer(job)))
        except SluiceError as error:
            errors.append(error)
    if json:
        print_json([plan.model_dump(mode="json") for plan in plans])
    else:
        for plan in plans:
            console.print("\n".join(explain(plan)), markup=False)
    _exit_for(errors)


def run_jobs(
    project: Project,
    jobs: Sequence[str],
    request: DeployRequest,
    *,
    json: bool,
    ahead: Mapping[str, Compiler] | None = None,
) -> None:
    """Run the operation of each job, print a row for each, and exit with the status of the worst result."""

    def one(job: str) -> Result:
        client = (ahead or {}).get(job)
        return run_operation(project, job, request, shell_holder(), progress_printer(job), compiler=client)

    with ThreadPoolExecutor(_PARALLEL) as pool:
        results = list(pool.map(one, jobs))
    rows = [_row(result) for result in results]
    if json:
        print_json(rows)
    columns = ("job", "outcome", "release", "flink_job_id", "restored_from", "downtime_ms")
    print_table(request.kind.capitalize(), columns, [[row[column] for column in columns] for row in rows])
    _exit_for(
        [result.error for result in results if result.error],
        failed=any(not result.outcome.is_success for result in results),
    )


def savepoint_job(project: Project, job: str, *, json: bool, note: str | None = None) -> None:
    """Take a savepoint of a job, and print its path.

    Raises:
        SluiceError: the savepoint failed.
    """
    project.catalog.job(job)
    row = asdict(take_savepoint(project, job, shell_holder(), progress_printer(job), note))
    if json:
        print_json(row)
    columns = ("job", "release", "flink_job_id", "savepoint")
    print_table("Savepoint", columns, [[row[column] for column in columns]])


def forget_job(project: Project, job: str, *, json: bool, confirms_loss: bool = False) -> None:
    """Remove a job from the list, and print its last placement.

    Raises:
        RefusedError: see `sluice.operation.forget.forget`.
    """
    from sluice.operation.forget import forget  # noqa: PLC0415

    with project.connect() as flink:
        forgotten = forget(project, job, flink, shell_holder(), confirms_loss=confirms_loss)
    if json:
        print_json(forgotten)
    console.print(f"{job} was removed from the list; its history is kept: sluice history {job}", soft_wrap=True)


def show_history(project: Project, job: str, *, json: bool) -> None:
    """Print the job's operations.

    Raises:
        ConfigError: neither the project nor the ledger has the job.
    """
    _refuse_unknown(project, job)
    rows = [
        {
            "operation": row.id,
            "kind": row.kind,
            "started_at": row.started_at.isoformat(),
            "ended_at": row.ended_at.isoformat() if row.ended_at else None,
            "outcome": row.outcome,
            "release": row.release,
            "former_release": row.former_release,
            "mode": row.mode,
            "downtime_ms": row.downtime_ms,
            "holder": row.holder,
            "approved_by": row.approved_by,
            "approved_at": row.approved_at.isoformat() if row.approved_at else None,
            "note": row.note,
            "reason": row.reason,
        }
        for row in project.ledger.operations(job)
    ]
    _show(
        f"History of {job}", rows, ("started_at", "kind", "outcome", "release", "downtime_ms", "note", "reason"), json
    )


def show_savepoints(project: Project, job: str, *, json: bool) -> None:
    """Print the job's savepoints.

    Raises:
        ConfigError: neither the project nor the ledger has the job.
    """
    _refuse_unknown(project, job)
    rows = [
        {
            "path": row.path,
            "release": row.release,
            "flink_job_id": row.flink_job_id,
            "operation": row.operation,
            "taken_at": row.taken_at.isoformat(),
            "deleted_at": row.deleted_at.isoformat() if row.deleted_at else None,
        }
        for row in project.ledger.savepoints(job)
    ]
    _show(f"Savepoints of {job}", rows, ("taken_at", "release", "path", "deleted_at"), json)


def show_approvals(project: Project, job: str, *, json: bool) -> None:
    """Print the approval requests for the job's plans.

    Raises:
        ConfigError: as `show_history`.
    """
    _refuse_unknown(project, job)
    rows = [
        {
            "asked_at": row.asked_at.isoformat(),
            "until": row.until.isoformat(),
            "answer": row.answer,
            "answered_by": row.answered_by,
            "answered_at": row.answered_at.isoformat() if row.answered_at else None,
            "why": row.why,
            "link": row.link,
            "asker": row.asker,
        }
        for row in project.ledger.approvals.of(job)
    ]
    _show(f"Approvals of {job}", rows, ("asked_at", "answer", "answered_by", "answered_at", "why"), json)


def _refuse_unknown(project: Project, job: str) -> None:
    if job not in all_names(project) and not project.ledger.operations(job, limit=1):
        project.catalog.job(job)  # raises, and lists the existing jobs


def _show(title: str, rows: list[dict[str, Any]], columns: tuple[str, ...], json: bool) -> None:  # noqa: FBT001
    if json:
        print_json(rows)
    else:
        print_table(title, columns, [[row[column] for column in columns] for row in rows])


def _row(result: Result) -> dict[str, Any]:
    return {
        "job": result.job,
        "operation": result.operation,
        "outcome": result.outcome,
        "release": result.release,
        "flink_job_id": result.flink_job_id,
        "savepoint": result.savepoint,
        "restored_from": result.restored_from,
        "downtime_ms": result.downtime_ms,
    }


def _exit_for(errors: Sequence[SluiceError], *, failed: bool = False) -> None:
    for error in errors:
        show_error(error)
    if errors:
        sys.exit(min(error.exit_status for error in errors))
    if failed:
        sys.exit(1)
