"""What is to run: a release that is in the ledger, or one that is desired and not entered yet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sluice.deployment.desired import DesiredJob
from sluice.deployment.secrets import redact_like, redact_settings
from sluice.job.config import JobConfig
from sluice.ledger.tables import Release


@dataclass(frozen=True)
class Target:
    """What is to run.

    Attributes:
        number: The release's number; None: it isn't in the ledger yet.
        resolved: `DesiredJob.values()`.
        overrides: Settings that a run gave.
        meanings: The settings whose change alters what state means, with what becomes of it.
        desired: The desired job; None for a release of the past.
        config: The model of the job's settings today; None: it isn't known.
    """

    number: int | None
    fingerprint: str
    artifact: str
    module: str
    resolved: Mapping[str, Any]
    overrides: Mapping[str, Any]
    meanings: Mapping[str, str]
    desired: DesiredJob | None = None
    config: type[JobConfig] | None = None

    @property
    def shown_overrides(self) -> dict[str, Any]:
        """The settings that a run gave, with digests of what is a secret by now."""
        given: dict[str, Any] = redact_like(dict(self.overrides), self.resolved.get("config"))
        return redact_settings(given, self.config) if self.config else given


def release_target(
    release: Release, meanings: Mapping[str, str] | None = None, config: type[JobConfig] | None = None
) -> Target:
    """A release as it was."""
    return Target(
        number=release.number,
        fingerprint=release.fingerprint,
        artifact=release.artifact,
        module=release.module,
        resolved=release.resolved,
        overrides=release.overrides,
        meanings=dict(meanings or {}),
        config=config,
    )
