"""What came to nothing before an operation had begun: recorded, so that who counts tries finds it."""

from __future__ import annotations

from sluice.errors import SluiceError
from sluice.plan.request import Request
from sluice.plan.target import healthy_before
from sluice.project import Project
from sluice.release.fingerprint import fingerprint


def record_unbegun(project: Project, job: str, request: Request, holder: str, reason: str) -> None:
    """Record a try that could not be planned, as an operation that has failed and was never planned.

    Of a release that the ledger doesn't know, or a job that never ran, there is nothing to count.

    Args:
        project: The project.
        job: The job's name.
        request: What was asked for.
        holder: Who has tried it.
        reason: Why it came to nothing.
    """
    release = _meant(project, job, request)
    if release is not None:
        project.ledger.add_failed(job, kind=request.kind, holder=holder, release=release, reason=reason)


def _meant(project: Project, job: str, request: Request) -> int | None:
    """The release that was to run."""
    if request.to is not None:
        return request.to
    place = project.ledger.placement(job)
    if place is None:
        return None
    releases = project.ledger.releases(job)
    if request.kind == "rollback":
        former = healthy_before(releases, place.release)
        return former.number if former else None
    running = next(release for release in releases if release.number == place.release)
    try:
        wanted = fingerprint(project.settings.root, project.desired(job, running.overrides))
    except SluiceError:
        return None
    # Of two that are the same the one that runs is meant.
    return next((each.number for each in (running, *releases) if each.fingerprint == wanted), None)
