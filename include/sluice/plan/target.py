"""Which release a request asks to run: the desired state of a job, or a release that ran before."""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping, Sequence
from typing import Any

from sluice.deployment.desired import refuse_secrets
from sluice.errors import RefusedError
from sluice.job.config import state_settings
from sluice.ledger.tables import Release
from sluice.plan.request import Request
from sluice.project import Project
from sluice.release.artifact import package
from sluice.release.fingerprint import fingerprint
from sluice.release.jars import store_jars
from sluice.release.target import Target, release_target


def desired_target(
    project: Project,
    job: str,
    overrides: Mapping[str, Any],
    given: Iterable[str] = (),
    known: Container[str] = (),
) -> Target:
    """The desired state, its code put into the artifact store, where it is found by its content.

    Args:
        project: The project.
        job: The job's name.
        overrides: Settings over the deployment file's.
        given: Those of them that are given now; the others stand since former runs.
        known: See `fingerprint`.

    Raises:
        ConfigError: the job or a setting is wrong.
    """
    desired = project.desired(job, overrides, given)
    settings = project.settings
    artifact = package(settings.root, desired.job.module, settings.artifacts)
    store_jars(desired.jars, settings.root, settings.artifacts)
    return Target(
        number=None,
        fingerprint=fingerprint(settings.root, desired, known),
        artifact=artifact.digest,
        module=desired.job.module,
        resolved=desired.values(),
        overrides=dict(overrides),
        meanings=state_settings(desired.job.config),
        desired=desired,
        config=desired.job.config,
    )


def wanted_target(project: Project, job: str, request: Request, former: Release | None) -> Target:
    """What a request asks to run.

    Args:
        project: The project.
        job: The job's name.
        request: What is asked for.
        former: The release that runs, or ran last.

    Raises:
        ConfigError: the job or a setting is wrong, or one that is given is a secret.
        RefusedError: there is no such release, or the job is disabled.
    """
    if request.kind == "deploy":
        refuse_secrets(project.catalog.job(job), request.overrides)
        standing = {} if former is None or request.clear_overrides else former.overrides
        same = _unchanged_by_upgrade(request, former)
        target = desired_target(project, job, {**standing, **request.overrides}, request.overrides, same)
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
    release = _rollback_release(project.ledger.releases(job), former, request.to or _begun(project, job))
    return release_target(release, {**meanings(project, former), **meanings(project, release)}, config)


def _unchanged_by_upgrade(request: Request, former: Release | None) -> tuple[str, ...]:
    """The fingerprint that is kept where only the code that Sluice generates is another version today.

    A mode that hands the job's state over asks for the job to be restarted: then it gets today's code.
    """
    return () if former is None or request.mode in ("savepoint", "last-state") else (former.fingerprint,)


def meanings(project: Project, release: Release) -> Mapping[str, str]:
    """The settings of a release whose change alters what state means, with what becomes of it.

    Of one from before the ledger kept them, those of its job today; where that can't be read, any setting may be one.
    """
    if release.meanings is not None:
        return release.meanings
    if known := project.catalog.jobs.get(release.job):
        return state_settings(known.config)
    return dict.fromkeys(release.resolved["config"], f"perhaps: {release.job} can't be read, and so can't tell")


def healthy_before(releases: Iterable[Release], number: int) -> Release | None:
    """The newest release below the number that was proven healthy; None: there is none."""
    proven = (release for release in releases if release.number < number and release.healthy_at is not None)
    return max(proven, key=lambda release: release.number, default=None)


def _begun(project: Project, job: str) -> int | None:
    """The release that an unfinished rollback goes to: once it runs, "the one before" would be another."""
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
