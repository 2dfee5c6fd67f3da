"""The rows of a sweep with what the ledger knows of each: all that a decision takes."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta
from itertools import groupby, pairwise

from sluice.errors import SluiceError
from sluice.fleet.decision import Case
from sluice.fleet.past import SHORT, PastOperation, blocked
from sluice.fleet.rows import JobStatus
from sluice.fleet.standing import IsGone, holds, moved
from sluice.operation.holder import is_gone
from sluice.plan.target import healthy_before
from sluice.project import Project
from sluice.release.fingerprint import fingerprint
from sluice.release.samples import Look
from sluice.release.tables import Operation, Release

_OPERATIONS = 200
"""Of a job; as far back as a roll-back is remembered."""
_LOOKS = 12
"""Of a job; enough for three runs, each of which looks again where something was done."""


def read_cases(project: Project, rows: Iterable[JobStatus], now: datetime, gone: IsGone = is_gone) -> list[Case]:
    """The cases of a sweep that is recorded already; of a job that is well, nothing more is read.

    Args:
        project: The project.
        rows: The sweep's.
        now: The time.
        gone: See `read_standing`.
    """
    return [_case(project, row, now, gone) for row in rows]


def _case(project: Project, row: JobStatus, now: datetime, gone: IsGone) -> Case:
    is_known = row.phase is not None and row.state not in ("undeclared", "duplicate")
    if not is_known or (row.verdict in ("healthy", "idle") and not row.drift):
        return Case(row, now, enabled=_is_enabled(project, row.job))
    ledger = project.ledger
    releases = {release.number: release for release in ledger.releases(row.job)}
    running = releases.get(row.release or 0)
    active = ledger.active(row.job)
    runs = _by_run(ledger.samples.looks(row.job, _LOOKS))
    operations = [
        _past(operation, releases)
        for operation in ledger.operations(row.job, _OPERATIONS)
        # A savepoint changes nothing, and is no try at anything.
        if operation.kind != "savepoint"
    ]
    return Case(
        status=row,
        now=now,
        moved=moved(row, ledger.placement(row.job)),
        enabled=_is_enabled(project, row.job),
        fingerprint=_desired(project, row.job, running, operations),
        healthy_at=running.healthy_at if running else None,
        has_former=healthy_before(releases.values(), row.release or 0) is not None,
        failed_before=_failed_before(runs, row),
        short=_short(runs),
        operations=operations,
        holder=active.holder if active and holds(active, now, gone) else None,
    )


def _is_enabled(project: Project, job: str) -> bool:
    section = project.content.jobs.get(job)
    return section is None or section.enabled


def _desired(project: Project, job: str, running: Release | None, operations: Sequence[PastOperation]) -> str | None:
    known = {running.fingerprint} if running else set()
    root = project.settings.root
    try:
        desired = project.desired(job, running.overrides if running else None)
        found = fingerprint(root, desired, known)
        if any(each.fingerprint == found for each in operations):
            return found
        # What was rolled back before an upgrade stays so under the newer Sluice, until it is deployed by hand.
        return fingerprint(root, desired, {*known, *filter(None, blocked(operations))})
    except SluiceError:
        # Its row says what is wrong.
        return None


def _by_run(looks: Iterable[Look]) -> list[list[Look]]:
    """The looks of each run of redeploy_and_verify, all newest first."""
    return [list(taken) for _, taken in groupby(looks, lambda look: look.run)]


def _failed_before(runs: Sequence[Sequence[Look]], row: JobStatus) -> bool:
    """Whether the run before this one of redeploy_and_verify found the same Flink job failed, however long ago.

    What a person looks at, and a second look of one run, are no proof that it has failed for long.
    """
    before = [taken[0] for taken in runs[1:2]]
    return any(look.verdict == "failed" and look.flink_job_id == row.flink_job_id for look in before)


def _short(runs: Sequence[Sequence[Look]]) -> timedelta:
    """Within what time a job is still seen at most twice, where the runs are far apart.

    Of the last two times between runs the shorter one counts: after a pause nothing has become young again.
    """
    began = [taken[-1].at for taken in runs[:3]]
    between = [later - earlier for later, earlier in pairwise(began)]
    return max(SHORT, 2 * min(between)) if len(between) > 1 else SHORT


def _past(operation: Operation, releases: dict[int, Release]) -> PastOperation:
    target, former = releases.get(operation.release), releases.get(operation.former_release or 0)
    plan = operation.plan or {}
    return PastOperation(
        kind=operation.kind,
        outcome=operation.outcome,
        release=operation.release,
        # What came to nothing before its release was entered has it of its own.
        fingerprint=plan.get("fingerprint") or (target.fingerprint if target else None),
        former_fingerprint=former.fingerprint if former else None,
        started_at=operation.started_at,
        ended_at=operation.ended_at,
        reason=operation.reason,
        action=plan.get("action"),
    )
