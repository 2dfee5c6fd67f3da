"""What is to run: the desired state of a job, or a release that ran before."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluice.deployment.desired import DesiredJob
from sluice.job.config import state_settings
from sluice.project import Project
from sluice.release.artifact import package
from sluice.release.fingerprint import fingerprint
from sluice.release.tables import Release


@dataclass(frozen=True)
class Target:
    """What is to run.

    Attributes:
        number: The release's number; None: it isn't in the ledger yet.
        resolved: `DesiredJob.values()`.
        overrides: Settings that a run gave.
        meanings: The settings whose change alters what state means, with what becomes of it.
        desired: The desired job; None for a release of the past.
    """

    number: int | None
    fingerprint: str
    artifact: str
    module: str
    resolved: Mapping[str, Any]
    overrides: Mapping[str, Any]
    meanings: Mapping[str, str]
    desired: DesiredJob | None = None


def desired_target(project: Project, job: str, overrides: Mapping[str, Any]) -> Target:
    """The desired state, its code put into the artifact store, where it is found by its content.

    Raises:
        ConfigError: the job or a setting is wrong.
    """
    desired = project.desired(job, overrides)
    settings = project.settings
    artifact = package(settings.root, desired.job.module, settings.artifacts)
    return Target(
        number=None,
        fingerprint=fingerprint(settings.root, desired),
        artifact=artifact.digest,
        module=desired.job.module,
        resolved=desired.values(),
        overrides=dict(overrides),
        meanings=state_settings(desired.job.config),
        desired=desired,
    )


def release_target(release: Release, meanings: Mapping[str, str] | None = None) -> Target:
    """A release as it was."""
    return Target(
        number=release.number,
        fingerprint=release.fingerprint,
        artifact=release.artifact,
        module=release.module,
        resolved=release.resolved,
        overrides=release.overrides,
        meanings=dict(meanings or {}),
    )
