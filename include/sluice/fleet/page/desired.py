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
from threading import BoundedSemaphore
from typing import Any

from sluice.errors import OperationError, SluiceError
from sluice.fleet.page.difference import compare_files, compare_settings
from sluice.fleet.page.models import Difference
from sluice.project import Project
from sluice.release.artifact import verify
from sluice.release.modules import content, job_modules
from sluice.settings import Settings

_SECONDS = 30.0
"""How long reading the files may take."""
_AT_ONCE = BoundedSemaphore(2)
"""So many are read side by side, however many ask."""


def read_desired(settings: Settings, job: str) -> Difference:
    """What differs between the release of a job that runs, or ran last, and its files.

    Raises:
        OperationError: it can't be told; with the reason.
    """
    variables = {
        **os.environ,
        "SLUICE_ROOT": str(settings.root),
        "SLUICE_HOME": str(settings.home),
        "SLUICE_ENVIRONMENT": settings.environment,
        "SLUICE_LEDGER": settings.ledger,
        "SLUICE_ARTIFACTS": str(settings.artifacts),
    }
    command = [sys.executable, "-B", "-W", "ignore", "-m", "sluice.fleet.page.desired", job]
    try:
        with _AT_ONCE:
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables, timeout=_SECONDS)
    except subprocess.TimeoutExpired:
        raise OperationError(
            f"{job}: its files could not be read within {_SECONDS:.0f} s", remedy=f"see what sluice plan {job} says"
        ) from None
    if done.returncode:
        words = done.stderr.strip().splitlines()[-1:] or [f"exit status {done.returncode}"]
        raise OperationError(f"{job}: its files can't be compared: {words[0]}")
    return Difference.model_validate_json(done.stdout.splitlines()[-1])


def compare_with_files(project: Project, job: str) -> Difference:
    """The same, in this process.

    Raises:
        OperationError: it was never deployed, or its artifact is missing.
        ConfigError: its files are broken.
    """
    place = project.ledger.placement(job)
    if place is None:
        raise OperationError(f"{job} was never deployed", remedy=f"run: sluice deploy {job}")
    release = project.ledger.release(job, place.release)
    desired = project.desired(job, release.overrides)
    root = project.settings.root
    now = {
        (file if file.is_file() else file / "__init__.py").relative_to(root).as_posix(): content(file)
        for file in job_modules(root, desired.job.module).values()
    }
    return Difference(
        old=f"release {release.number}",
        new="the files",
        settings=compare_settings(
            _told_by_files(release.resolved), _told_by_files(desired.values()), release.meanings or {}
        ),
        files=compare_files(_stored(project, release.artifact), now),
    )


def _told_by_files(values: Mapping[str, Any]) -> dict[str, Any]:
    """Without what comes from Airflow's connections, of which this process knows nothing."""
    return {name: value for name, value in values.items() if name != "credentials"}


def _stored(project: Project, artifact: str) -> Mapping[str, bytes]:
    with zipfile.ZipFile(verify(project.settings.artifacts, artifact)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def main(arguments: list[str]) -> int:
    """Print the difference of a job as JSON; where it can't be told, the reason on standard error."""
    try:
        found = compare_with_files(Project(Settings()), arguments[0])
    except SluiceError as error:
        sys.stderr.write(f"{str(error).replace(chr(10), ' ')}\n")
        return error.exit_status
    # A job's module may have printed something.
    sys.stdout.write(f"\n{json.dumps(found.model_dump(mode='json'))}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
