"""The limits and the reads that a release is checked against at its gates."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from sluice.errors import ConfigError
from sluice.job.limits import Health
from sluice.ledger.tables import Release
from sluice.project import Project


def limits(project: Project, release: Release, log: Callable[[str], None]) -> Health:
    """The job's current limits, since a change of them needs no release; the release's own if the job can't be read.

    Raises:
        ConfigError: the job can't be read, and an early Sluice made the release without recording limits.
    """
    try:
        return project.desired(release.job).health
    except ConfigError as error:
        if release.health is None:
            raise
        log(f"using the limits of release {release.number}, since the job can't be read: {error}")
        return Health.model_validate(release.health)


def untimed(project: Project, release: Release) -> tuple[str, ...]:
    """The topics that a release reads without a watermark, as the job declares its reads now."""
    job = project.catalog.jobs.get(release.job)
    declared = job.reads if job else {}
    reads: Mapping[str, Mapping[str, Any]] = release.resolved["reads"]
    timed = {values["topic"] for name, values in reads.items() if name not in declared or declared[name].has_watermark}
    return tuple(dict.fromkeys(values["topic"] for values in reads.values() if values["topic"] not in timed))
