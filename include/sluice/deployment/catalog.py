"""The project's jobs: every file of `flink_jobs/` is imported separately, so that a broken file hides no other job.

A file has the name of its job. So the job of a broken file is known, two files can't define the same job, and the
section of a job in the deployment file is found without importing the job.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.abc
import importlib.machinery
import importlib.util
import os
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from sluice.deployment.source_loader import load_current_sources
from sluice.deployment.time_limit import TooLongError, time_limit
from sluice.errors import ConfigError, SluiceError
from sluice.job.definition import Job
from sluice.job.names import is_job_name
from sluice.settings import JOBS_PACKAGE


@dataclass(frozen=True)
class BrokenFile:
    """A file of `flink_jobs/` that defines no valid job, and the error."""

    file: Path
    error: str

    @property
    def name(self) -> str:
        """The job that the file should define: a file has the name of its job."""
        return self.file.stem


@dataclass(frozen=True)
class Catalog:
    """The project's jobs by name, and the broken files."""

    jobs: Mapping[str, Job] = field(default_factory=dict)
    broken: tuple[BrokenFile, ...] = ()

    @property
    def errors(self) -> list[SluiceError]:
        """The error of each broken file."""
        return [ConfigError(file.error) for file in self.broken]

    def job(self, name: str) -> Job:
        """The job with this name.

        Raises:
            ConfigError: no such job exists, or its file is broken; the message has the reason.
        """
        if name in self.jobs:
            return self.jobs[name]
        for file in self.broken:
            if file.name == name:
                raise ConfigError(file.error)
        known = ", ".join(sorted(self.jobs)) or "none"
        broken = f"; broken: {', '.join(file.file.name for file in self.broken)}" if self.broken else ""
        raise ConfigError(f"there is no job {name!r}", remedy=f"the project has: {known}{broken}")


class FileCheck(Protocol):
    """Decides which job files may be imported in this process; see `sluice.deployment.import_check.ImportCheck`."""

    def import_limit(self) -> float:
        """Seconds for one import."""

    def refused_files(self, root: Path, files: Sequence[Path]) -> Mapping[Path, str]:
        """The files that must not be imported in this process, each with the error message."""

    def forget_result(self, root: Path, file: Path) -> None:
        """A file that was not refused has exceeded the limit: decide anew next time."""


def read_catalog(root: Path, check: FileCheck | None = None) -> Catalog:
    """Import every `flink_jobs/*.py` of the project, except names that begin with `_`.

    Args:
        root: The project's directory.
        check: Decides which files are imported; None: each file is imported in a child process first.
    """
    if check is None:
        from sluice.deployment.import_check import IMPORT_CHECK  # noqa: PLC0415 - its child process imports this module

        check = IMPORT_CHECK
    use_package(root / JOBS_PACKAGE)
    jobs: dict[str, Job] = {}
    broken: list[BrokenFile] = []
    files = sorted((root / JOBS_PACKAGE).glob("[!_]*.py"))
    refused = check.refused_files(root, [file for file in files if is_job_name(file.stem)])
    with _block_imports(refused):
        for file in files:
            if file in refused:
                broken.append(BrokenFile(file, refused[file]))
                continue
            try:
                with _restore_process_state(check.import_limit()):
                    job = _load(file)
            except (Exception, SystemExit, TooLongError) as error:  # noqa: BLE001 - the other files must load
                if isinstance(error, TooLongError):
                    check.forget_result(root, file)
                broken.append(BrokenFile(file, describe_import_error(error, file)))
            else:
                jobs[job.name] = job
    return Catalog(jobs, tuple(broken))


@contextlib.contextmanager
def _restore_process_state(seconds: float) -> Iterator[None]:
    """Undo what an import changes in this process (working directory, sys.path); send its prints to standard error."""
    path = list(sys.path)
    with contextlib.ExitStack() as after:
        # The working directory may have been removed, or be inaccessible to this user: then it can't be restored.
        with contextlib.suppress(OSError):
            directory = os.open(".", os.O_RDONLY)
            after.callback(os.close, directory)
            after.callback(_change_back, directory)
        try:
            with contextlib.redirect_stdout(sys.stderr), time_limit(seconds):
                yield
        finally:
            if sys.path != path:
                sys.path[:] = path


def _change_back(directory: int) -> None:
    with contextlib.suppress(OSError):
        os.fchdir(directory)


@contextlib.contextmanager
def _block_imports(refused: Mapping[Path, str]) -> Iterator[None]:
    """Make imports of these files fail, also those from other job files."""
    blocker = _ImportBlocker({f"{JOBS_PACKAGE}.{file.stem}": words for file, words in refused.items()})
    sys.meta_path.insert(0, blocker)
    try:
        yield
    finally:
        sys.meta_path.remove(blocker)


class _ImportBlocker(importlib.abc.MetaPathFinder):
    def __init__(self, refused: Mapping[str, str]) -> None:
        self._refused = refused

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        """Raise ImportError for a module that must not be imported."""
        if fullname in self._refused:
            raise ImportError(self._refused[fullname])


def _load(file: Path) -> Job:
    if not is_job_name(file.stem):
        raise ConfigError(
            f"{file}: a job file must have the name of its job, and {file.stem!r} is not a valid name of a job",
            remedy="rename the file to a Python identifier of lower-case letters, digits and _, which begins with a "
            "letter and has at most 63 characters. If it is not a job, move it to flink_jobs/shared/, or begin its "
            "name with _",
        )
    name = f"{JOBS_PACKAGE}.{file.stem}"
    with _without_pyflink(file):
        module = importlib.import_module(name)
    # A job that the file imports from another module does not count.
    found = [value for value in vars(module).values() if isinstance(value, Job) and value.module == name]
    if len(found) != 1:
        names = ", ".join(job.name for job in found) or "none"
        raise ConfigError(
            f"{file}: expected one job, found {names}",
            remedy=f"define job = Job(...) at the top level; move code that jobs share to {JOBS_PACKAGE}/shared/",
        )
    (job,) = found
    if job.name != file.stem:
        raise ConfigError(
            f"{job.place}: the file is named {file.stem} and its job {job.name}: a job file must have the name of its "
            "job",
            remedy=f"rename the file to {job.name}.py, or the job to {file.stem}",
        )
    _ = job.build  # raises if the job has no pipeline
    return job


@contextlib.contextmanager
def _without_pyflink(file: Path) -> Iterator[None]:
    """Refuse a file that imports PyFlink at module level, directly or through another module.

    The modules that it loaded are unloaded again, so that the check of the next file starts afresh.
    """
    if "pyflink" in sys.modules:
        # PyFlink is loaded already (in a test that runs a pipeline), so that the check can't see an import.
        yield
        return
    before = set(sys.modules)
    try:
        yield
    finally:
        found = "pyflink" in sys.modules
        if found:
            _unload([name for name in set(sys.modules) - before if name.partition(".")[0] in ("pyflink", JOBS_PACKAGE)])
    if found:
        raise ConfigError(
            f"{file}: imports pyflink when it is imported", remedy="import pyflink inside the pipeline function"
        )


def _unload(names: Iterable[str]) -> None:
    for name in names:
        module = sys.modules.pop(name)
        package, _, child = name.rpartition(".")
        # Otherwise `from package import child` would find the attribute and not import the module again.
        if package in sys.modules and getattr(sys.modules[package], child, None) is module:
            delattr(sys.modules[package], child)


def describe_import_error(error: BaseException, file: Path | None = None) -> str:
    """The error message for an exception that a job's code raised.

    Args:
        error: The exception.
        file: The job file whose import raised it: the message begins with file and line. None: without a place.
    """
    if isinstance(error, SluiceError):
        return str(error)
    try:
        words = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - the job's exception class may define a broken __str__
        words = type(error).__name__
    if isinstance(error, SystemExit):
        words = f"the import called sys.exit({'' if error.code is None else repr(error.code)})"
    if isinstance(error, TooLongError):
        words = str(error)
    if file is None:
        return words
    line = error.lineno if isinstance(error, SyntaxError) else None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename) == file:
            line = frame.lineno
    return f"{file}:{line or 1}: {words}"


def use_package(directory: Path) -> None:
    """Make `flink_jobs` the package in this directory, regardless of sys.path.

    The modules of another project are unloaded: a process may read several projects, as tests do.
    """
    loaded = sys.modules.get(JOBS_PACKAGE)
    if loaded is not None and [Path(path) for path in loaded.__path__] == [directory]:
        return
    for name in [name for name in sys.modules if name.partition(".")[0] == JOBS_PACKAGE]:
        del sys.modules[name]
    importlib.invalidate_caches()
    load_current_sources(directory)
    spec = importlib.machinery.ModuleSpec(JOBS_PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(directory)]
    # Its __init__.py is not executed: it contains a docstring at most.
    sys.modules[JOBS_PACKAGE] = importlib.util.module_from_spec(spec)
