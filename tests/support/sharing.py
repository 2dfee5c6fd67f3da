"""A directory, locks and a deployment file that the workers of a test run share."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


def shared_directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The directory that all workers of the run use."""
    own = tmp_path_factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


@contextmanager
def locked(file: Path, *, shared: bool = False) -> Iterator[None]:
    """Wait for a lock on a file and hold it: exclusively, or shared with other workers that hold it shared."""
    with file.open("a") as held:
        fcntl.flock(held, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield


@contextmanager
def deployment_line(root: Path, job: str, line: str) -> Iterator[None]:
    """Add a line to a job's entry of the deployment file, and remove it afterwards.

    Workers may edit different jobs' entries at the same time.
    """
    entry, changed = f"  {job}:\n", f"  {job}:\n    {line}\n"
    _replace(root, entry, changed)
    try:
        yield
    finally:
        _replace(root, changed, entry)


def _replace(root: Path, old: str, new: str) -> None:
    file = root / "deployments" / "local.yaml"
    with locked(root / "deployments.lock"):
        text = file.read_text()
        assert old in text, old
        written = file.with_suffix(".new")
        written.write_text(text.replace(old, new, 1))
        written.rename(file)
