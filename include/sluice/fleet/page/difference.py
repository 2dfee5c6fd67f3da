"""The difference between two releases: their settings, and the code of their artifacts."""

from __future__ import annotations

import difflib
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from sqlalchemy import select
from sqlalchemy.orm import Session

from sluice.errors import OperationError
from sluice.fleet.page.models import Difference, FileDifference, Setting
from sluice.fleet.page.secret import read_secret_settings
from sluice.ledger.tables import Release
from sluice.plan.changes import compare_values
from sluice.release.artifact import artifact_file

LONGEST = 2_000
"""Lines of a file's diff that are shown at most."""


def read_difference(session: Session, environment: str, job: str, numbers: tuple[int, int], store: Path) -> Difference:
    """The difference between two releases of a job.

    Args:
        session: Of the ledger.
        environment: The job's environment.
        job: The job's name.
        numbers: The older and the newer release; 0 for the older one compares with nothing.
        store: The directory of the artifacts.

    Raises:
        OperationError: there is no such release.
    """
    old, new = (read_release(session, environment, job, number) if number else None for number in numbers)
    if new is None:
        raise OperationError(f"{job}: the ledger has no release {numbers[1]}")
    secret = read_secret_settings(session, environment, job)
    before, after = secret.redact_release(old.resolved) if old else {}, secret.redact_release(new.resolved)
    try:
        files = compare_files(_files(store, old.artifact) if old else {}, _files(store, new.artifact))
        trouble = None
    except (OSError, zipfile.BadZipFile) as error:
        files, trouble = (), f"the code can't be shown: {error}"
    return Difference(
        old=f"release {old.number}" if old else "nothing",
        new=f"release {new.number}",
        settings=compare_settings(before, after, new.meanings or {}),
        files=files,
        code=trouble,
    )


def compare_settings(
    old: Mapping[str, Any], new: Mapping[str, Any], meanings: Mapping[str, str]
) -> tuple[Setting, ...]:
    """The settings that differ; see `sluice.plan.changes.compare_values`."""
    return tuple(Setting.model_validate(change.model_dump()) for change in compare_values(old, new, meanings))


def compare_files(old: Mapping[str, bytes], new: Mapping[str, bytes]) -> tuple[FileDifference, ...]:
    """The files that differ, sorted by name."""
    names = sorted({*old, *new})
    return tuple(_file(name, old.get(name), new.get(name)) for name in names if old.get(name) != new.get(name))


def read_release(session: Session, environment: str, job: str, number: int) -> Release:
    """A release by its number.

    Raises:
        OperationError: there is no such release.
    """
    query = select(Release).where(Release.environment == environment, Release.job == job, Release.number == number)
    found = session.scalars(query).first()
    if found is None:
        raise OperationError(f"{job}: the ledger has no release {number}")
    return found


def _files(store: Path, artifact: str) -> dict[str, bytes]:
    with zipfile.ZipFile(artifact_file(store, artifact)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def _file(name: str, old: bytes | None, new: bytes | None) -> FileDifference:
    change: Literal["added", "removed", "changed"] = "added" if old is None else "removed" if new is None else "changed"
    before, after = ((content or b"").decode(errors="replace").splitlines() for content in (old, new))
    # The first two lines name the file.
    lines = list(difflib.unified_diff(before, after, lineterm=""))[2:]
    return FileDifference(name=name, change=change, lines=tuple(lines[:LONGEST]), left_out=max(0, len(lines) - LONGEST))
