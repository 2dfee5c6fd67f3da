"""The jobs of a sweep, with what the project's files and the ledger know of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sluice.deployment.catalog import describe_import_error
from sluice.deployment.desired import DesiredJob, override_secret_warnings
from sluice.deployment.secrets import redact_settings
from sluice.errors import ConfigError
from sluice.fleet.removed import REMOVED
from sluice.fleet.rows import JobStatus
from sluice.health.probe import WatchedJob
from sluice.health.snapshot import Snapshot
from sluice.health.verdict import VerdictState
from sluice.job.dead_letter import DeadLetter
from sluice.job.limits import Health
from sluice.ledger.tables import Placement, Release
from sluice.project import Project
from sluice.release.fingerprint import fingerprint
from sluice.state.offsets import offsets_by_partition


@dataclass(frozen=True)
class Member:
    """A job of the project.

    Attributes:
        status: What is known without asking Flink.
        watched: What to read from Flink and the brokers; None: nothing, the status is complete.
        health: The job's limits.
        had_checkpoint: The ledger knows of a completed checkpoint since the job was started.
    """

    status: JobStatus
    watched: WatchedJob | None = None
    health: Health = field(default_factory=Health)
    had_checkpoint: bool = True


def all_names(project: Project) -> list[str]:
    """The names of all jobs: those with a file, also a broken one, and those in the ledger that weren't forgotten."""
    broken = (file.name for file in project.catalog.broken)
    return sorted({*project.catalog.jobs, *broken, *project.ledger.placed()})


def read_members(project: Project, names: Iterable[str], previous: Mapping[str, Snapshot]) -> list[Member]:
    """Read what files and ledger know of these jobs; a broken job doesn't hide the others.

    Args:
        project: The project.
        names: The jobs' names.
        previous: Earlier snapshots, by the job's name.

    Raises:
        ConfigError: there is no job of that name.
    """
    placed = project.ledger.placements()
    return [_member(project, name, placed.get(name), previous.get(name)) for name in names]


def _member(project: Project, name: str, placed: tuple[Placement, Release] | None, previous: Snapshot | None) -> Member:
    if name not in project.catalog.jobs:
        return Member(_without_file(project, name, placed))
    place, release = placed or (None, None)
    trouble: tuple[str, ...] = ()
    try:
        try:
            desired = project.desired(name, release.overrides if release else None)
        except ConfigError as error:
            # An override that a run gave is invalid by now: the release that has it runs all the same.
            desired, trouble = project.desired(name), (str(error),)
        # It reads every module that the job imports, also those that nothing has imported yet.
        found = fingerprint(project.settings.root, desired, (release.fingerprint,) if release else ())
    except Exception as error:  # noqa: BLE001 - a job's code may raise anything; the other jobs are read all the same
        return Member(_broken(name, place, describe_import_error(error)))
    if place is None or release is None:
        state = "not deployed" if desired.enabled else "disabled"
        return Member(JobStatus(name, state, reasons=(f"run: sluice deploy {name}",) if desired.enabled else ()))
    overrides = redact_settings(release.overrides, desired.job.config)
    status = JobStatus(
        name,
        "",
        place.release,
        place.flink_job_id,
        reasons=(*trouble, *override_secret_warnings(desired.job.config, overrides)),
        drift=bool(trouble) or found != release.fingerprint,
        overrides=overrides,
        phase=place.phase,
    )
    if words := _why_down(place):
        return Member(replace(status, state=place.phase, reasons=(words, *status.reasons)))
    return Member(status, _watched_job(desired, place, previous), desired.health, place.had_checkpoint)


def _why_down(place: Placement) -> str | None:
    """Why the job isn't running now; None: it should be."""
    since = f"since {place.since:%Y-%m-%d %H:%M} UTC"
    match place.phase:
        case "suspended":
            return f"suspended {since}"
        case "stopping" | "stopped" | "suspending":
            return f"{place.phase} {since}: its operation did not finish"
    return None


def _watched_job(desired: DesiredJob, place: Placement, previous: Snapshot | None) -> WatchedJob:
    topics = tuple(dict.fromkeys(topic.topic for topic in desired.reads.values()))
    return WatchedJob(
        flink_job_id=place.flink_job_id,
        topics=topics,
        group=desired.group,
        untimed=desired.untimed,
        dead_letters=tuple(name for name, sink in desired.writes.items() if issubclass(sink.record, DeadLetter)),
        started_at=offsets_by_partition(place.positions or {}, topics),
        previous=previous,
    )


def _without_file(project: Project, name: str, placed: tuple[Placement, Release] | None) -> JobStatus:
    """The row of a job without a readable file. An unknown name is the caller's mistake and raises."""
    place, _ = placed or (None, None)
    broken = [file for file in project.catalog.broken if file.name == name]
    if broken:
        return _broken(name, place, broken[0].error)
    if place is None:
        project.catalog.job(name)
        raise AssertionError  # the line before has raised
    # Whether it runs is known once Flink has answered.
    return JobStatus(
        name, REMOVED, place.release, place.flink_job_id, reasons=("its file was removed",), phase=place.phase
    )


def _broken(name: str, place: Placement | None, why: str) -> JobStatus:
    """The row of a job whose file, code or settings can't be read; release and Flink job come from the ledger."""
    status = JobStatus(name, "broken", verdict=VerdictState.FAILED, reasons=(why,))
    if place is None:
        return status
    return replace(status, release=place.release, flink_job_id=place.flink_job_id, phase=place.phase)
