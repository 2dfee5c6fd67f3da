"""The release that a request targets: the desired state of a job, or a release that ran before."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from sluice.deployment.desired import refuse_secrets
from sluice.errors import RefusedError
from sluice.job.config import state_settings
from sluice.ledger.tables import Release
from sluice.plan.model import Mode, Plan
from sluice.plan.request import DeployRequest
from sluice.project import Project
from sluice.release.artifact import artifact_file, package
from sluice.release.fingerprint import fingerprint
from sluice.release.jars import store_jars
from sluice.release.target import Target, release_target


def desired_target(
    project: Project,
    job: str,
    overrides: Mapping[str, Any],
    given: Iterable[str] = (),
    known: Container[str] = (),
    earlier: Plan | None = None,
) -> Target:
    """The target of the desired state; stores its code and jars in the artifact store, unless `earlier` did.

    Args:
        project: The project.
        job: The job's name.
        overrides: Settings over the deployment file's.
        given: The overrides that this request gives; the others come from former runs.
        known: See `fingerprint`.
        earlier: An earlier plan of the same operation; None: there is none.

    Raises:
        ConfigError: the job or a setting is wrong.
    """
    desired = project.desired(job, overrides, given)
    settings = project.settings
    wanted = fingerprint(settings.root, desired, known)
    artifact = _stored_artifact(project, wanted, earlier)
    if artifact is None:
        artifact = package(settings.root, desired.job.module, settings.artifacts).digest
    # Each time: this also replaces a stored jar that was damaged.
    store_jars(desired.jars, settings.root, settings.artifacts)
    return Target(
        number=None,
        fingerprint=wanted,
        artifact=artifact,
        module=desired.job.module,
        resolved=desired.values(),
        overrides=dict(overrides),
        meanings=state_settings(desired.job.config),
        desired=desired,
        config=desired.job.config,
    )


def _stored_artifact(project: Project, wanted: str, earlier: Plan | None) -> str | None:
    """The artifact that an earlier plan has stored for this fingerprint; None: there is none."""
    if earlier is None or earlier.artifact is None or earlier.fingerprint != wanted:
        return None
    return earlier.artifact if artifact_file(project.settings.artifacts, earlier.artifact).exists() else None


def wanted_target(
    project: Project, job: str, request: DeployRequest, former: Release | None, earlier: Plan | None = None
) -> Target:
    """The target of a request.

    Args:
        project: The project.
        job: The job's name.
        request: The request.
        former: The release that is running, or ran last.
        earlier: An earlier plan of the same operation; None: there is none.

    Raises:
        ConfigError: the job or a setting is wrong, or an override is a secret.
        RefusedError: there is no such release, or the job is disabled.
    """
    if request.kind == "deploy":
        refuse_secrets(project.catalog.job(job), request.overrides)
        kept = {} if former is None or request.clear_overrides else former.overrides
        same = _unchanged_by_upgrade(request, former)
        target = desired_target(project, job, {**kept, **request.overrides}, request.overrides, same, earlier)
        if target.desired is not None and not target.desired.enabled:
            raise RefusedError(
                f"{job} is disabled in {project.settings.deployment_file}",
                remedy=f"set jobs.{job}.enabled to true there; to stop a running one: sluice suspend {job}",
            )
        return target
    if former is None:
        raise RefusedError(f"{job} was never deployed", remedy=f"run sluice deploy {job}")
    known = project.catalog.jobs.get(job)
    config = known.config if known else None
    if request.kind != "rollback":
        return release_target(former, config=config)
    release = _rollback_release(project.ledger.releases(job), former, request.target_release or _begun(project, job))
    return release_target(release, {**meanings(project, former), **meanings(project, release)}, config)


def _unchanged_by_upgrade(request: DeployRequest, former: Release | None) -> tuple[str, ...]:
    """The fingerprint to keep if only the version of Sluice's generated code has changed.

    A mode that hands the state over requests a restart, which uses the current version of the generated code.
    """
    return () if former is None or request.mode in (Mode.SAVEPOINT, Mode.LAST_STATE) else (former.fingerprint,)


def meanings(project: Project, release: Release) -> Mapping[str, str]:
    """The settings of a release whose change alters the meaning of state, each with what changes.

    A release from before the ledger stored them has those of its job today; if that can't be read, any setting counts.
    """
    if release.meanings is not None:
        return release.meanings
    if known := project.catalog.jobs.get(release.job):
        return state_settings(known.config)
    return dict.fromkeys(release.resolved["config"], f"unknown, since {release.job} can't be read")


def healthy_before(releases: Iterable[Release], number: int) -> Release | None:
    """The newest release below the number that has been healthy; None: there is none."""
    healthy = (release for release in releases if release.number < number and release.healthy_at is not None)
    return max(healthy, key=lambda release: release.number, default=None)


def _begun(project: Project, job: str) -> int | None:
    """The target of an unfinished rollback: once that runs, the release before it would be another one."""
    active = project.ledger.active(job)
    return active.release if active is not None and active.kind == "rollback" else None


def _rollback_release(releases: Sequence[Release], former: Release, to: int | None) -> Release:
    if to is None:
        if found := healthy_before(releases, former.number):
            return found
        raise RefusedError(
            f"{former.job}: there is no healthy release before {former.number}",
            remedy=f"name one with --to; see sluice history {former.job}",
        )
    known = {release.number: release for release in releases}
    if to not in known:
        numbers = ", ".join(map(str, sorted(known)))
        raise RefusedError(f"{former.job} has no release {to}", remedy=f"choose one of {numbers}")
    return known[to]
