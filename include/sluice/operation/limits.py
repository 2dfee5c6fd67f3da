"""What a release is held against at its gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sluice.errors import ConfigError
from sluice.job.limits import Health
from sluice.ledger.tables import Release
from sluice.project import Project


def limits(project: Project, release: Release, tell: Callable[[str], None]) -> Health:
    """Those of today, since they take effect without a release; the release's own where its job can't be read today.

    Raises:
        ConfigError: the job can't be read, and the release is of a Sluice that kept no limits.
    """
    try:
        return project.desired(release.job).health
    except ConfigError as error:
        if release.health is None:
            raise
        tell(f"the limits are those of release {release.number}: {error}")
        return Health.model_validate(release.health)


def untimed(project: Project, release: Release) -> tuple[str, ...]:
    """The topics that a release reads without a watermark: all reads of which the job declares so today."""
    job = project.catalog.jobs.get(release.job)
    declared = job.reads if job else {}
    reads: Mapping[str, Mapping[str, Any]] = release.resolved["reads"]
    timed = {values["topic"] for name, values in reads.items() if name not in declared or declared[name].has_watermark}
    return tuple(dict.fromkeys(values["topic"] for values in reads.values() if values["topic"] not in timed))
