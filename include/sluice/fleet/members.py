"""What the sweep looks at: the project's jobs, as far as files and ledger tell of them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from sluice.deployment.catalog import describe_import_error
from sluice.deployment.desired import DesiredJob, override_secret_warnings
from sluice.deployment.secrets import redact_settings
from sluice.errors import ConfigError
from sluice.fleet.removed import REMOVED
from sluice.fleet.rows import JobStatus
from sluice.health.probe import Target
from sluice.health.snapshot import Snapshot
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
        status: What is known of it without looking at the cluster.
        target: What to look at; None: there is nothing to look at, the status says it all.
        health: Its limits.
        had_checkpoint: The ledger knows that it has made a checkpoint since it was started.
    """

    status: JobStatus
    target: Target | None = None
    health: Health = field(default_factory=Health)
    had_checkpoint: bool = True


def all_names(project: Project) -> list[str]:
    """Every job of the project: its files, broken ones as well, and what was started and is on the list."""
    broken = (file.name for file in project.catalog.broken)
    return sorted({*project.catalog.jobs, *broken, *project.ledger.placed()})


def read_members(project: Project, names: Iterable[str], former: Mapping[str, Snapshot]) -> list[Member]:
    """What is to be looked at of these jobs. What is wrong with one of them does not hide the others.

    Args:
        project: The project.
        names: The jobs' names.
        former: Earlier snapshots, by the job's name.

    Raises:
        ConfigError: there is no job of that name.
    """
    placed = project.ledger.placements()
    return [_member(project, name, placed.get(name), former.get(name)) for name in names]


def _member(project: Project, name: str, placed: tuple[Placement, Release] | None, former: Snapshot | None) -> Member:
    if name not in project.catalog.jobs:
        return Member(_without_file(project, name, placed))
    place, release = placed or (None, None)
    trouble: tuple[str, ...] = ()
    try:
        try:
            desired = project.desired(name, release.overrides if release else None)
        except ConfigError as error:
            # Where what a former run gave is at fault, the release that has it runs all the same.
            desired, trouble = project.desired(name), (str(error),)
        # It reads every module that the job imports, also those that nothing has imported yet.
        found = fingerprint(project.settings.root, desired, (release.fingerprint,) if release else ())
    except Exception as error:  # noqa: BLE001 - a job's settings are anybody's code: the others are looked at
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
    if words := _not_meant_to_run(place):
        return Member(replace(status, state=place.phase, reasons=(words, *status.reasons)))
    return Member(status, _target(desired, place, former), desired.health, place.had_checkpoint)


def _not_meant_to_run(place: Placement) -> str | None:
    """Why the job isn't to run at present; None: it is."""
    since = f"since {place.since:%Y-%m-%d %H:%M} UTC"
    match place.phase:
        case "suspended":
            return f"suspended {since}"
        case "stopping" | "stopped" | "suspending":
            return f"{place.phase} {since}: an operation is to go on with it"
    return None


def _target(desired: DesiredJob, place: Placement, former: Snapshot | None) -> Target:
    topics = tuple(dict.fromkeys(topic.topic for topic in desired.reads.values()))
    return Target(
        flink_job_id=place.flink_job_id,
        topics=topics,
        group=desired.group,
        untimed=desired.untimed,
        dead_letters=tuple(name for name, sink in desired.writes.items() if issubclass(sink.record, DeadLetter)),
        started_at=offsets_by_partition(place.positions or {}, topics),
        former=former,
    )


def _without_file(project: Project, name: str, placed: tuple[Placement, Release] | None) -> JobStatus:
    """A job whose file is broken or gone is a row of its own; an unknown name is the caller's mistake and raises."""
    place, _ = placed or (None, None)
    broken = [file for file in project.catalog.broken if file.name == name]
    if broken:
        return _broken(name, place, broken[0].error)
    if place is None:
        project.catalog.job(name)
        raise AssertionError  # it isn't there
    # What of it runs the cluster says.
    return JobStatus(
        name, REMOVED, place.release, place.flink_job_id, reasons=("its file was removed",), phase=place.phase
    )


def _broken(name: str, place: Placement | None, why: str) -> JobStatus:
    """A job whose file, code or settings can't be read; what it runs as is the ledger's all the same."""
    status = JobStatus(name, "broken", verdict="failed", reasons=(why,))
    if place is None:
        return status
    return replace(status, release=place.release, flink_job_id=place.flink_job_id, phase=place.phase)
