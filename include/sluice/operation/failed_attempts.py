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
    """What was to run.

    Attributes:
        release: Its number.
        plan: What a plan of it would say, where the ledger has no such release yet.
    """

    release: int
    plan: Mapping[str, Any] | None = None


def record_unbegun(project: Project, job: str, request: DeployRequest, holder: str, reason: str) -> None:
    """Record a try that could not be planned, or was given up before it took the job, as an operation that has failed.

    Of a job that never ran, or has no settings that can be read, there is nothing to count.

    Args:
        project: The project.
        job: The job's name.
        request: What was asked for.
        holder: Who has tried it.
        reason: Why it came to nothing.
    """
    meant = _intended_release(project, job, request)
    if meant is not None:
        project.ledger.add_failed(
            job, kind=request.kind, holder=holder, release=meant.release, reason=reason, plan=meant.plan
        )


def record_unless_begun(
    project: Project, job: str, request: DeployRequest, holder: str, reason: str, since: datetime
) -> None:
    """Record a try of which only is known that it has failed, where nothing of the job tells what came of it.

    An operation that goes on, or has ended since then, does: it is what the try was, or what was in its way.

    Args:
        project: The project.
        job: The job's name.
        request: What was asked for.
        holder: Who has tried it.
        reason: What is known of it.
        since: When it was wanted.
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
    # Of two that are the same the one that runs is meant.
    for each in (running, *releases):
        if each.fingerprint == wanted:
            return IntendedRelease(each.number)
    # It would have become the next one; by that number alone it would be taken for whatever becomes that.
    return IntendedRelease(releases[0].number + 1, {"action": "redeploy", "fingerprint": wanted})
