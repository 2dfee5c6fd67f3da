"""Artifacts: the code of a release as a zip file that is named by the digest of its content."""

from __future__ import annotations

import hashlib
import os
import tempfile
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from sluice.errors import OperationError
from sluice.release.modules import job_modules

_EPOCH = (1980, 1, 1, 0, 0, 0)
"""The earliest time that a zip file can store; all entries have it, so that equal code gives equal files."""


@dataclass(frozen=True)
class Artifact:
    """The stored code of a job."""

    digest: str
    """SHA-256 over the names and contents of its files, in hexadecimal."""
    file: Path


def package(root: Path, module: str, store: Path) -> Artifact:
    """Store the code of a job, unless it is stored already; equal code gives the same digest on every machine.

    Args:
        root: The project's root.
        module: The job's module.
        store: Directory of the artifacts.

    Raises:
        ConfigError: the code can't be read.
        OperationError: the store can't be written.
    """
    contents = {}
    for file in job_modules(root, module).values():
        # Add a missing __init__.py: otherwise a regular package of the same name elsewhere on the path would win.
        entry, content = (file, file.read_bytes()) if file.is_file() else (file / "__init__.py", b"")
        contents[entry.relative_to(root).as_posix()] = content
    return store_files(contents, store)


def store_files(contents: dict[str, bytes], store: Path) -> Artifact:
    """Store files as one zip (by their path in it), unless it is stored already.

    Raises:
        OperationError: the store can't be written.
    """
    digest = _digest(contents)
    file = artifact_file(store, digest)
    if not file.exists():
        try:
            _write(file, contents)
        except OSError as error:
            raise OperationError(f"the artifact can't be written to {store}: {error.strerror}") from error
    return Artifact(digest, file)


def artifact_file(store: Path, digest: str) -> Path:
    """The path of an artifact in the store."""
    return store / f"{digest}.zip"


def verify(store: Path, digest: str) -> Path:
    """The file of an artifact, after comparing its content with the digest.

    Raises:
        OperationError: the file is missing, or its content has another digest.
    """
    file = artifact_file(store, digest)
    try:
        with zipfile.ZipFile(file) as archive:
            found = _digest({name: archive.read(name) for name in archive.namelist()})
    except (OSError, zipfile.BadZipFile) as error:
        raise OperationError(f"artifact {digest[:12]} can't be read: {error}", remedy=_restore(file)) from error
    if found != digest:
        raise OperationError(
            f"artifact {digest[:12]} has changed in the store: its code has digest {found[:12]}", remedy=_restore(file)
        )
    return file


def _restore(file: Path) -> str:
    return f"restore {file} from a backup; or remove it, check out the code of that release, and run: sluice deploy JOB"


def _digest(contents: dict[str, bytes]) -> str:
    total = hashlib.sha256()
    for name, content in sorted(contents.items()):
        total.update(f"{name}\0{len(content)}\0".encode())
        total.update(content)
    return total.hexdigest()


def _write(file: Path, contents: dict[str, bytes]) -> None:
    with write_atomically(file) as raw, zipfile.ZipFile(raw, "w", zipfile.ZIP_STORED) as archive:
        for entry, content in sorted(contents.items()):
            info = zipfile.ZipInfo(entry, date_time=_EPOCH)
            info.external_attr = 0o644 << 16
            archive.writestr(info, content)


@contextmanager
def write_atomically(file: Path) -> Iterator[BinaryIO]:
    """Write a file under a temporary name, and rename it at the end of the block: others see all of it or nothing.

    If the block fails, the temporary file is removed, and a former file stays.
    """
    file.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=".", suffix=".part")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as raw:
            yield raw
        partial.chmod(0o644)
        partial.rename(file)
    finally:
        partial.unlink(missing_ok=True)
