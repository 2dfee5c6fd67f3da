"""The release that a replay runs, and the topics that it reads and writes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from sluice.errors import RefusedError
from sluice.job.topic import Kafka
from sluice.ledger.tables import Release
from sluice.project import Project
from sluice.release.target import Target, release_target
from sluice.replay.model import ReplayPlan


def find_release(project: Project, job: str, number: int | None) -> Release:
    """A release of a job by its number; None: the one that runs now.

    Raises:
        RefusedError: the job has no such release, or was never deployed.
    """
    place = project.ledger.placement(job)
    if place is None:
        raise RefusedError(f"{job} was never deployed", remedy=f"run sluice deploy {job}: a replay runs a release")
    known = {release.number: release for release in project.ledger.releases(job)}
    wanted = number or place.release
    if wanted not in known:
        numbers = ", ".join(map(str, sorted(known)))
        raise RefusedError(f"{job} has no release {wanted}", remedy=f"choose one of {numbers}")
    return known[wanted]


def released_topics(job: str, section: str, declared: Mapping[str, Kafka], release: Release) -> dict[str, Kafka]:
    """The topics that a release reads or writes, with the settings that it was deployed with.

    Args:
        job: The job's name.
        section: `reads` or `writes`.
        declared: The topics of that section in the job's code now.
        release: The release.

    Raises:
        RefusedError: the job's code no longer declares one of them.
    """
    settings = release.resolved[section]
    if removed := [name for name in settings if name not in declared]:
        raise RefusedError(
            f"{job}: release {release.number} has {section}.{removed[0]}, which the job no longer declares",
            remedy="replay with a release whose topics the job still declares",
        )
    return {name: declared[name].with_settings(values) for name, values in settings.items()}


def live_topics(project: Project, job: str) -> dict[str, str]:
    """The topic that the live release writes, by sink.

    Raises:
        RefusedError: the job was never deployed.
    """
    release = find_release(project, job, None)
    return {sink: str(values["topic"]) for sink, values in release.resolved["writes"].items()}


def compile_target(plan: ReplayPlan, release: Release) -> Target:
    """The release with the replay's settings, for the compiler."""
    return replace(
        release_target(release),
        fingerprint=plan.fingerprint,
        resolved=plan.resolved,
        overrides={**release.overrides, **plan.overrides},
    )
