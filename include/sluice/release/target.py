"""The release that a plan leads to: one from the ledger, or the desired job before it is recorded as a release."""

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
    """The release to run.

    Attributes:
        number: The release's number; None: it isn't in the ledger yet.
        resolved: `DesiredJob.values()`.
        overrides: Settings given for runs.
        meanings: See `sluice.job.config.state_settings`: the settings that change the meaning of state.
        desired: The desired job; None for a release from the ledger.
        config: The current model of the job's settings; None: unknown.
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
        """The overrides with secrets as digests: a field may have become a secret after a run gave it."""
        given: dict[str, Any] = redact_like(dict(self.overrides), self.resolved.get("config"))
        return redact_settings(given, self.config) if self.config else given


def release_target(
    release: Release, meanings: Mapping[str, str] | None = None, config: type[JobConfig] | None = None
) -> Target:
    """The target that runs a release from the ledger."""
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
