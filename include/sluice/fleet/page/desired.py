"""What differs between a job's files and the release that runs: what a deploy would change, as far as files tell.

Jobs are code: they are read in a process of their own, so that a server that runs for weeks sees them as they are now,
and nothing of theirs runs in it. That process leaves nothing in the project's directory.
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
"""How long reading the files may take."""
_HANDED = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "HOME", "LANG")
_KEPT = ("SLUICE_LEDGER", "AIRFLOW__", "AIRFLOW_CONN_")
"""How the names of variables begin that are never handed over."""


class Placed(BaseModel):
    """The release of a job that runs, or ran last; see `sluice.ledger.tables.Release`."""

    model_config = ConfigDict(frozen=True)

    job: str
    number: int
    artifact: str
    resolved: dict[str, Any]
    overrides: dict[str, Any]
    meanings: dict[str, Any] | None


def read_placed(session: Session, environment: str, job: str) -> Placed:
    """The release that its files are held against.

    Raises:
        OperationError: it was never deployed.
    """
    place = session.get(Placement, (environment, job))
    if place is None:
        raise OperationError(f"{job} was never deployed", remedy=f"run: sluice deploy {job}")
    release = read_release(session, environment, job, place.release)
    return Placed(
        job=job,
        number=release.number,
        artifact=release.artifact,
        resolved=release.resolved,
        overrides=release.overrides,
        meanings=release.meanings,
    )


def read_desired(settings: Settings, placed: Placed) -> Difference:
    """What differs between a job's release and its files.

    Raises:
        OperationError: it can't be told; with the reason.
    """
    job = placed.job
    command = [sys.executable, "-B", "-W", "ignore", "-m", "sluice.fleet.page.desired"]
    given = placed.model_dump_json()
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
    """What the process that reads the files has in its environment: a job's code runs there, whoever wrote it.

    None of the server's secrets, then: Sluice's own variables without the ledger's address, which may hold a password,
    and those that the deployment file names, which its jobs are given anyway.
    """
    file = settings.deployment_file
    named = named_variables(file) if file.is_file() else set()
    handed = {
        name: value
        for name, value in server.items()
        if name in _HANDED or name in named or name.startswith("SLUICE_")
        if not name.startswith(_KEPT)
    }
    return {
        **handed,
        "SLUICE_ROOT": str(settings.root),
        "SLUICE_HOME": str(settings.home),
        "SLUICE_ENVIRONMENT": settings.environment,
        "SLUICE_ARTIFACTS": str(settings.artifacts),
    }


def compare_with_files(project: Project, placed: Placed) -> Difference:
    """The same, in this process.

    Raises:
        OperationError: its artifact is missing.
        ConfigError: its files are broken.
    """
    desired = project.desired(placed.job, placed.overrides)
    root = project.settings.root
    now = {
        (file if file.is_file() else file / "__init__.py").relative_to(root).as_posix(): content(file)
        for file in job_modules(root, desired.job.module).values()
    }
    old, new = (
        _told_by_files(redact_release(values, desired.job.config)) for values in (placed.resolved, desired.values())
    )
    return Difference(
        old=f"release {placed.number}",
        new="the files",
        settings=compare_settings(old, new, placed.meanings or {}),
        files=compare_files(_stored(project, placed.artifact), now),
    )


def _told_by_files(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what comes from Airflow's connections, of which this process knows nothing."""
    return {name: value for name, value in values.items() if name != "credentials"}


def _stored(project: Project, artifact: str) -> Mapping[str, bytes]:
    with zipfile.ZipFile(verify(project.settings.artifacts, artifact)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def main() -> int:
    """Print the difference of the release on standard input as JSON; where there is none, why on standard error."""
    try:
        found = compare_with_files(Project(Settings()), Placed.model_validate_json(sys.stdin.read()))
    except SluiceError as error:
        sys.stderr.write(f"{str(error).replace(chr(10), ' ')}\n")
        return error.exit_status
    # A job's module may have printed something.
    sys.stdout.write(f"\n{json.dumps(found.model_dump(mode='json'))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
