"""The project's jobs: every file of `flink_jobs/`, each on its own, so that a broken one hides none of the others.

A file is named after its job. So a broken file is known by the name of the job that it should give, no two files can
give the same job, and a file's deployment section is found without the file being read.
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
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sluice.deployment.source_loader import load_current_sources
from sluice.deployment.time_limit import TooLongError, time_limit
from sluice.errors import ConfigError, SluiceError
from sluice.job.definition import Job
from sluice.job.names import is_job_name
from sluice.settings import JOBS_PACKAGE


@dataclass(frozen=True)
class BrokenFile:
    """A file of `flink_jobs/` that gives no job, and why."""

    file: Path
    error: str

    @property
    def name(self) -> str:
        """The job that it should give: files are named after their jobs."""
        return self.file.stem


@dataclass(frozen=True)
class Catalog:
    """The project's jobs by name, and the files that are broken."""

    jobs: Mapping[str, Job] = field(default_factory=dict)
    broken: tuple[BrokenFile, ...] = ()

    @property
    def errors(self) -> list[SluiceError]:
        """What is wrong with each broken file."""
        return [ConfigError(file.error) for file in self.broken]

    def job(self, name: str) -> Job:
        """The job of this name.

        Raises:
            ConfigError: there is none, or its file is broken (with the reason).
        """
        if name in self.jobs:
            return self.jobs[name]
        for file in self.broken:
            if file.name == name:
                raise ConfigError(file.error)
        known = ", ".join(sorted(self.jobs)) or "none"
        spoilt = f"; broken: {', '.join(file.file.name for file in self.broken)}" if self.broken else ""
        raise ConfigError(f"there is no job {name!r}", remedy=f"the project has: {known}{spoilt}")


def read_catalog(root: Path) -> Catalog:
    """Import every `flink_jobs/*.py` (not those that begin with `_`) below the project's root."""
    from sluice.deployment.trial import distrust, refused_files  # noqa: PLC0415 - it runs what reads this

    use_package(root / JOBS_PACKAGE)
    jobs: dict[str, Job] = {}
    broken: list[BrokenFile] = []
    files = sorted((root / JOBS_PACKAGE).glob("[!_]*.py"))
    refused = refused_files(root, [file for file in files if is_job_name(file.stem)])
    with _barred(refused):
        for file in files:
            if file in refused:
                broken.append(BrokenFile(file, refused[file]))
                continue
            try:
                with _as_it_was():
                    job = _load(file)
            except (Exception, SystemExit, TooLongError) as error:  # noqa: BLE001 - the others must load
                if isinstance(error, TooLongError):
                    distrust(root, file)
                broken.append(BrokenFile(file, describe(error, file)))
            else:
                jobs[job.name] = job
    return Catalog(jobs, tuple(broken))


@contextlib.contextmanager
def _as_it_was() -> Iterator[None]:
    """What a file changes of this process while it is imported is taken back, what it prints is no output of ours."""
    path = list(sys.path)
    with contextlib.ExitStack() as after:
        # Where the directory was removed, or this user may not enter it, it can't be returned to.
        with contextlib.suppress(OSError):
            directory = os.open(".", os.O_RDONLY)
            after.callback(os.close, directory)
            after.callback(_return_to, directory)
        try:
            with contextlib.redirect_stdout(sys.stderr), time_limit():
                yield
        finally:
            if sys.path != path:
                sys.path[:] = path


def _return_to(directory: int) -> None:
    with contextlib.suppress(OSError):
        os.fchdir(directory)


@contextlib.contextmanager
def _barred(refused: Mapping[Path, str]) -> Iterator[None]:
    """Importing one of these files fails, also where another file does it."""
    bar = _Bar({f"{JOBS_PACKAGE}.{file.stem}": words for file, words in refused.items()})
    sys.meta_path.insert(0, bar)
    try:
        yield
    finally:
        sys.meta_path.remove(bar)


class _Bar(importlib.abc.MetaPathFinder):
    def __init__(self, refused: Mapping[str, str]) -> None:
        self._refused = refused

    def find_spec(self, fullname: str, path: object = None, target: object = None) -> None:  # noqa: ARG002
        """Raise, where the module must not be imported."""
        if fullname in self._refused:
            raise ImportError(self._refused[fullname])


def _load(file: Path) -> Job:
    if not is_job_name(file.stem):
        raise ConfigError(
            f"{file}: a job's file has the job's name, and {file.stem!r} is none",
            remedy="rename the file to a Python identifier of lower-case letters, digits and _, a letter first, at "
            "most 63 characters; or, if it is no job, take it out or begin its name with _",
        )
    name = f"{JOBS_PACKAGE}.{file.stem}"
    with _without_pyflink(file):
        module = importlib.import_module(name)
    # A job that was imported from elsewhere is not this file's.
    found = [value for value in vars(module).values() if isinstance(value, Job) and value.module == name]
    if len(found) != 1:
        names = ", ".join(job.name for job in found) or "none"
        raise ConfigError(
            f"{file}: expected one job, found {names}",
            remedy=f"define job = Job(...) at the top level; what jobs share lies in {JOBS_PACKAGE}/shared/",
        )
    (job,) = found
    if job.name != file.stem:
        raise ConfigError(
            f"{job.place}: the file is named {file.stem}, its job {job.name}: a job's file has the job's name",
            remedy=f"rename the file to {job.name}.py, or the job to {file.stem}",
        )
    _ = job.build  # a job without a pipeline is of no use
    return job


@contextlib.contextmanager
def _without_pyflink(file: Path) -> Iterator[None]:
    """Refuse PyFlink being imported inside, by the file or by what it imports.

    What was loaded meanwhile is then unloaded: the next file must be judged by what it imports itself.
    """
    if "pyflink" in sys.modules:
        # Where it is in use anyway (a test that runs a pipeline), nothing can be told.
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
        # `from package import child` would find it there without importing it again.
        if package in sys.modules and getattr(sys.modules[package], child, None) is module:
            delattr(sys.modules[package], child)


def describe(error: BaseException, file: Path | None = None) -> str:
    """What is wrong with a job that has raised this.

    Args:
        error: What was raised.
        file: The job's file, whose import has raised it: its place is told; None: nothing is told of a place.
    """
    if isinstance(error, SluiceError):
        return str(error)
    try:
        words = f"{type(error).__name__}: {error}"
    except Exception:  # noqa: BLE001 - an exception may be anybody's code
        words = type(error).__name__
    if isinstance(error, SystemExit):
        words = f"it called sys.exit({'' if error.code is None else repr(error.code)}) when it was imported"
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
    """Make `flink_jobs` the package in this directory, wherever else on the path there is one.

    Another project's modules are unloaded: one process may look at several (tests do).
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
    # What its __init__.py holds is a docstring, if anything: it is not run.
    sys.modules[JOBS_PACKAGE] = importlib.util.module_from_spec(spec)
