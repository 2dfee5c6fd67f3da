"""Compile and submit a job in a client process. The module imports little, so that the process can start early."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Literal, Protocol, Self

from sluice.client import submitter
from sluice.client.address import login_variables, rest_options
from sluice.client.class_path import CACHE
from sluice.client.environment import client_environment, pipeline_variables
from sluice.client.process import JVM_ARGS, ClientProcess
from sluice.client.protocol import Build, Found, Load, Part, Ready, State, Submit
from sluice.client.stores import tls_options
from sluice.errors import OperationError
from sluice.release.jars import stored_jars
from sluice.release.versions import FACTS, FLINK, KAFKA_CONNECTOR, PIPELINE

if TYPE_CHECKING:
    from sluice.client.submitter import Submitter
    from sluice.flink.access import Access
    from sluice.release.graphs import Compiled, GraphStore
    from sluice.release.target import Target
    from sluice.settings import Settings

Ahead = Literal["compile", "submit"]
"""Which client to start before it is needed: the one that compiles, or the submitter."""
SUBMIT_TIMEOUT = 60.0
"""Seconds within which the cluster must answer a submission."""
_COMPILED_FROM = {
    *("job", "module", "environment", "config", "reads", "writes", "brokers", "parallelism", "options", "jars"),
    "carry_over",
}
"""The fields of `Build` that decide what a release compiles to; the others only name files or the cluster."""


class CompilerProject(Protocol):
    """What a compiler reads of a project; see `sluice.project.Project`."""

    settings: Settings

    @property
    def environment(self) -> str:
        """Name of the deployment file."""

    @property
    def flink(self) -> Access:
        """How to reach the cluster."""

    @property
    def flink_lib(self) -> Path | None:
        """The directory of the jars to compile against; None: PyFlink's own."""

    @property
    def kafka(self) -> Mapping[str, str]:
        """Librdkafka's configuration."""

    def resolve_secrets(
        self, name: str, resolved: Mapping[str, Any], overrides: Mapping[str, Any] | None = None
    ) -> Mapping[str, Any]:
        """The settings of a release, with its secrets."""


@dataclass(frozen=True)
class _Prepared:
    """What `Compiler.prepare` has prepared.

    Attributes:
        wanted: Its arguments: fingerprint, `carry_over`, part.
        build: The order by which it is compiled.
        source: What its graph is looked up by.
        compiled: The compiled release.
    """

    wanted: tuple[str, bool, Part | None]
    build: Build
    source: Mapping[str, Any]
    compiled: Compiled


class Compiler:
    """A client process that compiles a release of a job and may submit it. A context manager that ends the process.

    A release whose graph is stored is not compiled. Then the client is a submitter, which starts faster.

    Args:
        project: The project.
        job: The job's name.
        log: Called with each progress message.
        ahead: Start this client at once, in parallel to further imports; None: a client is started at the first call
            that needs one.
        submit_timeout: Seconds within which the cluster must answer a submission.
    """

    def __init__(
        self,
        project: CompilerProject,
        job: str,
        log: Callable[[str], None],
        *,
        ahead: Ahead | None = None,
        submit_timeout: float = SUBMIT_TIMEOUT,
    ) -> None:
        self._project = project
        self._job = job
        self._log = log
        self._submit_timeout = submit_timeout
        self._process: ClientProcess | None = self._start(compiles=ahead == "compile") if ahead else None
        self._is_unused = ahead == "compile"
        """The client that compiles was started before it was needed, and has had no order yet."""
        self._prepared: _Prepared | None = None
        self._holds_graph = False
        """The client process has the prepared graph."""
        self._is_spent = False
        """The client process has submitted it."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def prepare(self, target: Target, *, carry_over: bool = False, part: Part | None = None) -> Ready:
        """Compile the target, unless its graph is stored; a second call with the same arguments returns the same.

        Needed before `submit`.

        Args:
            target: The release to compile.
            carry_over: Start without state, from the committed offsets of the consumer group.
            part: The part of the history to replay; None: an unbounded run.

        Raises:
            ConfigError, CompileError, SchemaError: the job has an error; nothing was changed.
            UnreachableError: the cluster doesn't answer.
            OperationError: the client process died or timed out.
        """
        wanted = (target.fingerprint, carry_over, part)
        if self._prepared is None or self._prepared.wanted != wanted:
            if self._holds_graph:
                self._release_graph()
            # If anything fails from here on, nothing is prepared: the former graph must not be submitted instead.
            self._prepared = None
            build = self._order(target, carry_over=carry_over, part=part)
            source = self._source(target, build)
            self._prepared = _Prepared(wanted, build, source, self._find_or_compile(build, source))
        return self._prepared.compiled.ready

    @property
    def generated_code(self) -> int:
        """The version of the generated code in the prepared graph. See `sluice.release.versions.PIPELINE`."""
        return PIPELINE if self._prepared is None else self._prepared.compiled.generated_code

    def load(self) -> None:
        """Let the client process hold the prepared graph and connect to the cluster: `submit` then takes no time.

        Raises:
            UnreachableError: the cluster doesn't answer.
            OperationError: the client process died or timed out.
        """
        prepared = self._prepared
        if prepared is None:
            raise RuntimeError("prepare comes before load and submit")
        if self._has_ended:
            self._end()
        elif self._is_spent:
            self._release_graph()
        if self._holds_graph:
            return
        content, build = prepared.compiled.ready.content, prepared.build
        if content is None:
            self._compile(build)
            return
        for compiles in (False, True):
            client = self._running(compiles=compiles)
            try:
                self._load(client, content, build)
            except OperationError as error:
                # It must not keep a release from running that another client can load, or that can be compiled.
                self._log(f"the stored graph can't be used: {error.message}")
            else:
                return
            if client.compiles:
                break
        self._log("the release is compiled again")
        self._store().remove(prepared.source)
        self._prepared = replace(prepared, compiled=self._find_or_compile(build, prepared.source))

    def _load(self, client: ClientProcess, content: str, build: Build) -> None:
        with self._ended_on_error(), tls_options(build.flink_url, build.flink_tls) as tls:
            order = Load(job=self._job, content=content, options={**rest_options(build.flink_url), **tls})
            client.load(order, timeout=self._project.settings.prepare_timeout)
        self._is_unused = False
        self._holds_graph = True

    def inspect(self, path: str) -> State:
        """The operators with state and the source positions of a checkpoint or savepoint."""
        return self._running().inspect(path)

    def find(self, *directories: str) -> Found:
        """The newest complete checkpoint or savepoint among the direct children of the directories."""
        return self._running().find(*directories)

    def submit(self, order: Submit) -> None:
        """Submit the prepared job. A client process submits once: another submission starts a new process.

        After an error the client process has ended.

        Raises:
            FlinkError: the cluster refused.
            OperationError: the client process died or timed out. The cluster may have the job: ask it.
        """
        self.load()
        self._is_spent = True
        # The process must not send the submission later.
        with self._ended_on_error():
            self._running().submit(order, timeout=self._submit_timeout)

    @contextmanager
    def _ended_on_error(self) -> Iterator[None]:
        """End the client process if the block fails: it takes no further order for a graph."""
        try:
            yield
        except BaseException:
            self._end()
            raise

    def _release_graph(self) -> None:
        """Let the client process give up its graph. One that compiles has to end: it takes a single graph."""
        if self._process is not None and self._process.compiles:
            self._end()
        self._holds_graph = self._is_spent = False

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process = None
        self._holds_graph = self._is_spent = self._is_unused = False

    def close(self) -> None:
        """End the client process."""
        self._end()
        self._prepared = None

    def _find_or_compile(self, build: Build, source: Mapping[str, Any]) -> Compiled:
        """The stored graph of a release, or else the one that the client compiles now, which is stored."""
        from sluice.release.graphs import Compiled  # noqa: PLC0415 - the process can start without

        if build.part is not None:
            return Compiled(ready=self._compile(build), generated_code=PIPELINE)
        store = self._store()
        found = store.find(source)
        if found is not None:
            self._log("the release is compiled already: its stored graph is used")
            return found
        compiled = Compiled(ready=self._compile(build), generated_code=PIPELINE)
        if compiled.ready.content is not None:
            store.add(source, compiled)
        return compiled

    def _store(self) -> GraphStore:
        from sluice.release.graphs import GraphStore  # noqa: PLC0415 - the process can start without

        return GraphStore(self._project.settings, self._log)

    def _source(self, target: Target, build: Build) -> dict[str, Any]:
        """What decides what a release compiles to. Not the version of Sluice: a rollback runs what ran."""
        return {
            "facts": FACTS,
            "fingerprint": target.fingerprint,
            "artifact": target.artifact,
            **build.model_dump(mode="json", include=_COMPILED_FROM),
            "variables": pipeline_variables(os.environ),
            "packages": installed_packages(self._project.settings.client_python),
            "flink": FLINK,
            "connector": KAFKA_CONNECTOR,
            "lib": _jars(self._project.flink_lib),
        }

    def _compile(self, order: Build) -> Ready:
        settings = self._project.settings
        with self._ended_on_error():
            client = self._running(compiles=True)
            self._is_unused = False
            ready = client.prepare(order, timeout=settings.prepare_timeout, root=settings.root)
        self._holds_graph = True
        self._log(f"compiled: {len(ready.graph.vertices)} vertices, {ready.graph.slots} slots")
        return ready

    @property
    def _has_ended(self) -> bool:
        """The client process was killed, for instance since an answer was late."""
        return self._process is not None and self._process.has_ended

    def _running(self, *, compiles: bool = False) -> ClientProcess:
        """The client process; started if there is none, or if another kind of client is needed."""
        client = self._process
        # The submitter is ready before a client that was started to compile, and has only begun to import PyFlink.
        is_other = client is not None and (not client.compiles if compiles else self._is_unused and self._submitter)
        if self._has_ended or is_other:
            self._end()
        if self._process is None:
            self._process = self._start(compiles=compiles)
        return self._process

    @cached_property
    def _submitter(self) -> Submitter | None:
        """What a submitter is started with; None: the client that compiles has to submit."""
        project = self._project
        try:
            return submitter.find(project.settings.client_python, project.flink_lib, client_environment(os.environ))
        except OSError as error:
            # The client that compiles finds the jars itself, or says what is wrong with them.
            self._log(f"the submitter can't be started: {error}")
            return None

    def _start(self, *, compiles: bool) -> ClientProcess:
        lib, settings = self._project.flink_lib, self._project.settings
        given = {CACHE: str(settings.client_cache), **({"FLINK_LIB_DIR": str(lib)} if lib else {})}
        variables = {**given, **login_variables(self._project.flink)}
        command = None
        if not compiles and (found := self._submitter):
            command = found.command(os.environ.get("JVM_ARGS", JVM_ARGS), settings.client_cache)
            variables |= found.variables
        return ClientProcess(
            settings.client_python,
            settings.logs / "client" / f"{self._job}.log",
            command=command,
            variables=variables,
            on_progress=lambda step: self._log(f"{step.step}: {step.seconds:.1f} s"),
        )

    def _order(self, target: Target, *, carry_over: bool, part: Part | None) -> Build:
        from sluice.kafka.brokers import java_properties  # noqa: PLC0415
        from sluice.release.artifact import verify  # noqa: PLC0415
        from sluice.release.sdk import package_sdk  # noqa: PLC0415

        project, settings = self._project, self._project.settings
        resolved = project.resolve_secrets(self._job, target.resolved, target.overrides)
        return Build(
            job=self._job,
            module=target.module,
            code=str(verify(settings.artifacts, target.artifact)),
            environment=project.environment,
            config=resolved["config"],
            reads=resolved["reads"],
            writes=resolved["writes"],
            brokers=java_properties(project.kafka),
            parallelism=resolved["parallelism"],
            options=resolved["options"],
            jars=stored_jars(target.resolved.get("jars") or {}, settings.root, settings.artifacts),
            python_files=(str(package_sdk(settings.artifacts)),),
            flink_url=project.flink.url,
            flink_tls=project.flink.tls,
            carry_over=carry_over,
            part=part,
        )


def installed_packages(python: Path) -> list[str]:
    """The version of a Python environment and of each package in it but Sluice, without starting it.

    A compiled graph contains pickled functions, which other versions may not read.

    Args:
        python: The environment's interpreter.
    """
    found = python.parent.parent.glob("lib/python3*/*-packages/*.dist-info")
    return sorted(f"{file.parent.parent.name}/{file.name}" for file in found if not file.name.startswith("sluice-"))


def _jars(directory: Path | None) -> list[tuple[str, int, int]]:
    """Name, size and time of change of each jar in a directory."""
    files = sorted(directory.glob("*.jar")) if directory else []
    return [(file.name, found.st_size, found.st_mtime_ns) for file in files if (found := file.stat())]
