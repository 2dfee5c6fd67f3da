"""Which settings of a job are secrets, by the ledger: those of which a release has a digest.

A release that is older than the secret may have its value in clear, and so may a run that gave it: the page shows
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
    """The settings of those releases of a job that have digests."""

    configs: tuple[Mapping[str, Any], ...]

    def redact(self, settings: Mapping[str, Any]) -> dict[str, Any]:
        """Settings, all or some, with digests in place of those that are a secret in any release."""
        found: dict[str, Any] = dict(settings)
        for config in self.configs:
            found = redact_like(found, config)
        return found

    def redact_release(self, resolved: Mapping[str, Any]) -> dict[str, Any]:
        """A release's resolved settings, redacted."""
        return {**resolved, "config": self.redact(resolved["config"])} if "config" in resolved else dict(resolved)


def read_secret_settings(session: Session, environment: str, job: str) -> SecretSettings:
    """Read the secret settings of a job."""
    # Most jobs have no secrets, so that no release is read.
    query = select(Release.resolved).where(
        Release.environment == environment, Release.job == job, cast(Release.resolved, String).contains(MARK)
    )
    return SecretSettings(tuple(resolved.get("config", {}) for resolved in session.scalars(query)))
