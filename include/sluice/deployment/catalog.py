"""The project's jobs: every file of `flink_jobs/`, each on its own, so that a broken one hides none of the others."""

from __future__ import annotations

import importlib
import importlib.machinery
import importlib.util
import sys
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from sluice.errors import ConfigError, SluiceError
from sluice.job.definition import Job
from sluice.settings import JOBS_PACKAGE


@dataclass(frozen=True)
class BrokenFile:
    """A file of `flink_jobs/` that gives no job, and why."""

    file: Path
    error: str

    @property
    def name(self) -> str:
        """What the job is called for lack of a better name: the file's."""
        return self.file.stem


@dataclass(frozen=True)
class Catalog:
    """The project's jobs by name, and the files that are broken."""

    jobs: Mapping[str, Job] = field(default_factory=dict)
    broken: tuple[BrokenFile, ...] = ()

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
        raise ConfigError(f"there is no job {name!r}", remedy=f"the project has: {known}")


def read_catalog(root: Path) -> Catalog:
    """Import every `flink_jobs/*.py` (not those that begin with `_`) below the project's root."""
    _use_package(root / JOBS_PACKAGE)
    loaded: dict[str, list[Job]] = {}
    broken: list[BrokenFile] = []
    for file in sorted((root / JOBS_PACKAGE).glob("[!_]*.py")):
        try:
            job = _load(file)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one file, the others must load
            broken.append(BrokenFile(file, _words(error, file)))
        else:
            loaded.setdefault(job.name, []).append(job)
    for name, namesakes in loaded.items():
        if len(namesakes) > 1:
            # Neither is taken: which one runs must not hang on the order of files.
            words = f"{len(namesakes)} jobs are named {name}: {', '.join(job.place for job in namesakes)}; rename one"
            broken.extend(BrokenFile(job.file, words) for job in namesakes)
    jobs = {name: namesakes[0] for name, namesakes in loaded.items() if len(namesakes) == 1}
    return Catalog(jobs, tuple(broken))


def _load(file: Path) -> Job:
    had_pyflink = "pyflink" in sys.modules
    name = f"{JOBS_PACKAGE}.{file.stem}"
    module = importlib.import_module(name)
    if not had_pyflink and "pyflink" in sys.modules:
        # The next file must be judged by what it imports itself.
        for loaded in [other for other in sys.modules if other.partition(".")[0] == "pyflink"]:
            del sys.modules[loaded]
        raise ConfigError(
            f"{file}: imports pyflink when it is imported", remedy="import pyflink inside the pipeline function"
        )
    # A job that was imported from elsewhere is not this file's.
    found = [value for value in vars(module).values() if isinstance(value, Job) and value.module == name]
    if len(found) != 1:
        names = ", ".join(job.name for job in found) or "none"
        raise ConfigError(
            f"{file}: expected one job, found {names}",
            remedy=f"define job = Job(...) at the top level; what jobs share lies in {JOBS_PACKAGE}/shared/",
        )
    _ = found[0].build  # a job without a pipeline is of no use
    return found[0]


def _words(error: Exception, file: Path) -> str:
    if isinstance(error, SluiceError):
        return str(error)
    line = error.lineno if isinstance(error, SyntaxError) else None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename) == file:
            line = frame.lineno
    return f"{file}:{line or 1}: {type(error).__name__}: {error}"


def _use_package(directory: Path) -> None:
    """Make `flink_jobs` the package in this directory, wherever else on the path there is one.

    Another project's modules are unloaded: one process may look at several (tests do).
    """
    loaded = sys.modules.get(JOBS_PACKAGE)
    if loaded is not None and [Path(path) for path in loaded.__path__] == [directory]:
        return
    for name in [name for name in sys.modules if name.partition(".")[0] == JOBS_PACKAGE]:
        del sys.modules[name]
    importlib.invalidate_caches()
    spec = importlib.machinery.ModuleSpec(JOBS_PACKAGE, None, is_package=True)
    spec.submodule_search_locations = [str(directory)]
    # What its __init__.py holds is a docstring, if anything: it is not run.
    sys.modules[JOBS_PACKAGE] = importlib.util.module_from_spec(spec)
