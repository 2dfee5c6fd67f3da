"""The fleet: every job of an environment, as it is and as it should be."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from sluice.errors import SluiceError
from sluice.flink.client import AsyncFlinkClient
from sluice.health.probe import probe
from sluice.health.verdict import verdict
from sluice.project import Project
from sluice.release.fingerprint import fingerprint


@dataclass(frozen=True)
class JobStatus:
    """A row of `sluice status`.

    Attributes:
        state: Flink's state of the job; `not deployed`, `disabled`, `suspended`, `removed` or `broken` (its file),
            `unreachable`, or `gone` when it should run and the cluster doesn't know it.
        drift: The job differs from the release that runs.
        overrides: Settings that a run gave, over the deployment file's.
    """

    job: str
    state: str
    release: int | None = None
    flink_job_id: str | None = None
    verdict: str = "unknown"
    reasons: tuple[str, ...] = ()
    consumer_lag: int | None = None
    watermark_lag_ms: int | None = None
    checkpoint_age_ms: int | None = None
    restarts: int | None = None
    drift: bool | None = None
    overrides: Mapping[str, Any] = field(default_factory=dict)


def fleet_status(project: Project, names: list[str]) -> list[JobStatus]:
    """The status of these jobs, or of all. What is wrong with one of them does not hide the others."""
    if not names:
        broken = (file.name for file in project.catalog.broken)
        names = sorted({*project.catalog.jobs, *broken, *project.ledger.placed()})
    return asyncio.run(_sweep(project, names))


async def _sweep(project: Project, names: list[str]) -> list[JobStatus]:
    async with AsyncFlinkClient(project.flink_url) as flink:
        return list(await asyncio.gather(*(_status(project, flink, name) for name in names)))


async def _status(project: Project, flink: AsyncFlinkClient, name: str) -> JobStatus:
    if name not in project.catalog.jobs:
        return _without_file(project, name)
    place = project.ledger.placement(name)
    release = project.ledger.release(name, place.release) if place else None
    try:
        desired = project.desired(name, release.overrides if release else None)
    except SluiceError as error:
        return JobStatus(name, "broken", verdict="failed", reasons=(str(error),))
    if place is None or release is None:
        state = "not deployed" if desired.enabled else "disabled"
        return JobStatus(name, state, reasons=(f"run: sluice deploy {name}",) if desired.enabled else ())
    drift = fingerprint(project.settings.root, desired) != release.fingerprint
    if place.phase == "suspended":
        words = f"suspended since {place.since:%Y-%m-%d %H:%M} UTC"
        return JobStatus(name, "suspended", place.release, reasons=(words,), drift=drift, overrides=release.overrides)
    topics = [topic.topic for topic in desired.reads.values()]
    try:
        snapshot = await probe(flink, place.flink_job_id, topics, project.kafka, desired.group)
    except SluiceError as error:
        # Not being able to look is not the job's being gone.
        return JobStatus(name, "unreachable", place.release, place.flink_job_id, reasons=(str(error),), drift=drift)
    judged = verdict(snapshot, desired.health)
    if snapshot.checkpoints.completed and not place.had_checkpoint:
        project.ledger.saw_checkpoint(name, place.flink_job_id)
    return JobStatus(
        job=name,
        state=snapshot.state.value if snapshot.state else "gone",
        release=place.release,
        flink_job_id=place.flink_job_id,
        verdict=judged.state,
        reasons=judged.reasons,
        consumer_lag=snapshot.consumer_lag,
        watermark_lag_ms=snapshot.watermark_lag_ms,
        checkpoint_age_ms=snapshot.checkpoints.age_ms,
        restarts=snapshot.restarts,
        drift=drift,
        overrides=release.overrides,
    )


def _without_file(project: Project, name: str) -> JobStatus:
    """A job whose file is broken or gone is a row of its own; an unknown name is the caller's mistake and raises."""
    broken = [file for file in project.catalog.broken if file.name == name]
    if broken:
        return JobStatus(name, "broken", verdict="failed", reasons=(broken[0].error,))
    place = project.ledger.placement(name)
    if place is None:
        project.catalog.job(name)
        raise AssertionError  # it isn't there
    words = f"its file is gone; release {place.release} is {place.phase}, and stays so: sluice suspend {name}"
    return JobStatus(name, "removed", place.release, place.flink_job_id, reasons=(words,))
