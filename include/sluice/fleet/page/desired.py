"""The difference between a job's files and its release: what a deploy would change, as far as files show.

A job's files are code. A process of its own imports them, so that a server that runs for weeks sees their present
content and runs none of it. That process writes nothing into the project's directory.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict
from sqlalchemy.orm import Session

from sluice.deployment.secrets import redact_release
from sluice.deployment.yaml_lines import named_variables
from sluice.errors import OperationError, SluiceError
from sluice.fleet.page.difference import compare_files, compare_settings, read_release
from sluice.fleet.page.models import Difference
from sluice.ledger.tables import Placement
from sluice.project import Project
from sluice.release.artifact import verify
from sluice.release.modules import content, job_modules
from sluice.settings import Settings

_SECONDS = 30.0
"""Reading the files may take so long."""
_PASSED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "LANG")
_WITHHELD = ("SLUICE_LEDGER", "AIRFLOW__", "AIRFLOW_CONN_")
"""Prefixes of environment variables that are never passed to that process."""


class DeployedRelease(BaseModel):
    """The release of a job that runs or ran last; see `sluice.ledger.tables.Release`."""

    model_config = ConfigDict(frozen=True)

    job: str
    number: int
    artifact: str
    resolved: dict[str, Any]
    overrides: dict[str, Any]
    meanings: dict[str, Any] | None


def read_deployed_release(session: Session, environment: str, job: str) -> DeployedRelease:
    """The release that a job's files are compared with.

    Raises:
        OperationError: the job was never deployed.
    """
    place = session.get(Placement, (environment, job))
    if place is None:
        raise OperationError(f"{job} was never deployed", remedy=f"run: sluice deploy {job}")
    release = read_release(session, environment, job, place.release)
    return DeployedRelease(
        job=job,
        number=release.number,
        artifact=release.artifact,
        resolved=release.resolved,
        overrides=release.overrides,
        meanings=release.meanings,
    )


def read_desired(settings: Settings, deployed: DeployedRelease) -> Difference:
    """The difference between a job's release and its files.

    Raises:
        OperationError: the files can't be compared; with the reason.
    """
    job = deployed.job
    command = [sys.executable, "-B", "-W", "ignore", "-m", "sluice.fleet.page.desired"]
    given = deployed.model_dump_json()
    try:
        variables = _variables(settings, os.environ)
        done = subprocess.run(
            command, input=given, capture_output=True, text=True, check=False, env=variables, timeout=_SECONDS
        )
    except subprocess.TimeoutExpired:
        raise OperationError(
            f"{job}: its files could not be read within {_SECONDS:.0f} s", remedy=f"see what sluice plan {job} says"
        ) from None
    except OSError as error:
        raise OperationError(f"{job}: its files can't be compared: {error}") from error
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise OperationError(f"{job}: its files can't be compared: {words[0]}")
    return Difference.model_validate_json(done.stdout.splitlines()[-1])


def _variables(settings: Settings, server: Mapping[str, str]) -> dict[str, str]:
    """The environment variables of the process that reads the files, in which the job's code runs.

    It gets none of the server's secrets: Sluice's own variables except the ledger's address, which may contain a
    password, and the variables that the deployment file names, which its jobs get anyway.
    """
    file = settings.deployment_file
    named = named_variables(file) if file.is_file() else set()
    handed = {
        name: value
        for name, value in server.items()
        if name in _PASSED or name in named or name.startswith("SLUICE_")
        if not name.startswith(_WITHHELD)
    }
    return {
        **handed,
        "SLUICE_ROOT": str(settings.root),
        "SLUICE_HOME": str(settings.home),
        "SLUICE_ENVIRONMENT": settings.environment,
        "SLUICE_ARTIFACTS": str(settings.artifacts),
    }


def compare_with_files(project: Project, deployed: DeployedRelease) -> Difference:
    """The difference between a job's release and its files, read in this process.

    Raises:
        OperationError: its artifact is missing.
        ConfigError: its files are broken.
    """
    desired = project.desired(deployed.job, deployed.overrides)
    root = project.settings.root
    now = {
        (file if file.is_file() else file / "__init__.py").relative_to(root).as_posix(): content(file)
        for file in job_modules(root, desired.job.module).values()
    }
    old, new = (
        _without_credentials(redact_release(values, desired.job.config))
        for values in (deployed.resolved, desired.values())
    )
    return Difference(
        old=f"release {deployed.number}",
        new="the files",
        settings=compare_settings(old, new, deployed.meanings or {}),
        files=compare_files(_stored(project, deployed.artifact), now),
    )


def _without_credentials(values: Mapping[str, Any]) -> dict[str, Any]:
    """Settings without credentials: they come from Airflow's connections, which this process can't read."""
    return {name: value for name, value in values.items() if name != "credentials"}


def _stored(project: Project, artifact: str) -> Mapping[str, bytes]:
    with zipfile.ZipFile(verify(project.settings.artifacts, artifact)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def main() -> int:
    """Compare the release on standard input and print the difference as JSON; an error goes to standard error."""
    try:
        found = compare_with_files(Project(Settings()), DeployedRelease.model_validate_json(sys.stdin.read()))
    except SluiceError as error:
        sys.stderr.write(f"{str(error).replace(chr(10), ' ')}\n")
        return error.exit_status
    # A job's module may have printed something before.
    sys.stdout.write(f"\n{json.dumps(found.model_dump(mode='json'))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
