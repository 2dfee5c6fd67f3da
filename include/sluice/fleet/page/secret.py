"""Which settings of a job are secrets, as far as the ledger tells: those of which some release keeps a digest.

A release from before a setting was a secret has it as it was given, and so has a run that gave it: the page shows
neither.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import String, cast, select
from sqlalchemy.orm import Session

from sluice.deployment.secrets import MARK, redact_like
from sluice.ledger.tables import Release


@dataclass(frozen=True)
class SecretSettings:
    """The settings of a job's releases that keep digests."""

    configs: tuple[Mapping[str, Any], ...]

    def redact(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings, all or some, with digests of those that are a secret in any release."""
        found: dict[str, Any] = dict(settings)
        for config in self.configs:
            found = redact_like(found, config)
        return found

    def covers(self, resolved: Mapping[str, Any]) -> dict[str, Any]:
        """What a release was resolved to, with the same done to its settings."""
        return {**resolved, "config": self.redact(resolved["config"])} if "config" in resolved else dict(resolved)


def read_secret_settings(session: Session, environment: str, job: str) -> SecretSettings:
    """Those of a job."""
    # Most jobs have none: their releases are not read.
    query = select(Release.resolved).where(
        Release.environment == environment, Release.job == job, cast(Release.resolved, String).contains(MARK)
    )
    return SecretSettings(tuple(resolved.get("config", {}) for resolved in session.scalars(query)))
