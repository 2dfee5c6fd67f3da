"""Record attempts that failed before taking the lock, so that retry limits count them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sluice.errors import SluiceError
from sluice.plan.request import DeployRequest
from sluice.plan.target import healthy_before
from sluice.project import Project
from sluice.release.fingerprint import fingerprint


@dataclass(frozen=True)
class IntendedRelease:
    """The release that a failed attempt was meant to run.

    Attributes:
        release: Its number.
        plan: Action and fingerprint of its plan, if the ledger does not have the release yet.
    """

    release: int
    plan: Mapping[str, Any] | None = None


def record_unbegun(project: Project, job: str, request: DeployRequest, holder: str, reason: str) -> None:
    """Record an attempt that could not be planned, or ended before it took the lock, as a failed operation.

    Record nothing for a job that never ran or whose settings can't be read: retries of it are not counted.

    Args:
        project: The project.
        job: The job's name.
        request: The request.
        holder: The holder that made the attempt.
        reason: Why it failed.
    """
    meant = _intended_release(project, job, request)
    if meant is not None:
        project.ledger.add_failed(
            job, kind=request.kind, holder=holder, release=meant.release, reason=reason, plan=meant.plan
        )


def record_unless_begun(
    project: Project, job: str, request: DeployRequest, holder: str, reason: str, since: datetime
) -> None:
    """Record a failed attempt, unless the ledger has an operation of the job that may account for it.

    An operation that is unfinished, or has finished since then, is either the attempt itself or what blocked it.

    Args:
        project: The project.
        job: The job's name.
        request: The request.
        holder: The holder that made the attempt.
        reason: What is known about the failure.
        since: When the attempt was requested.
    """
    if all(each.ended_at is not None and each.ended_at < since for each in project.ledger.operations(job)):
        record_unbegun(project, job, request, holder, reason)


def _intended_release(project: Project, job: str, request: DeployRequest) -> IntendedRelease | None:
    if request.target_release is not None:
        return IntendedRelease(request.target_release)
    place = project.ledger.placement(job)
    if place is None:
        return None
    releases = project.ledger.releases(job)
    if request.kind == "rollback":
        former = healthy_before(releases, place.release)
        return IntendedRelease(former.number) if former else None
    running = next(release for release in releases if release.number == place.release)
    try:
        desired = project.desired(job, running.overrides)
        wanted = fingerprint(project.settings.root, desired, (running.fingerprint,))
    except SluiceError:
        return None
    # Several releases may have this fingerprint: prefer the running one.
    for each in (running, *releases):
        if each.fingerprint == wanted:
            return IntendedRelease(each.number)
    # It would have become the next release. Keep its fingerprint: another release may get that number.
    return IntendedRelease(releases[0].number + 1, {"action": "redeploy", "fingerprint": wanted})
