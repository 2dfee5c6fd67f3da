"""Compile and submit a job in a client process. The module imports little, so that the process can start early."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol, Self

from sluice.client.address import login_variables
from sluice.client.class_path import CACHE
from sluice.client.process import ClientProcess
from sluice.release.jars import stored_jars

if TYPE_CHECKING:
    from sluice.client.protocol import Build, Found, Part, Ready, State, Submit
    from sluice.flink.access import Access
    from sluice.release.target import Target
    from sluice.settings import Settings

SUBMIT_TIMEOUT = 60.0
"""Seconds within which the cluster must answer a submission."""


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


class Compiler:
    """A client process that compiles a release of a job and may submit it. A context manager that ends the process.

    Args:
        project: The project.
        job: The job's name.
        log: Called with each progress message.
        ahead: Start the process at once, in parallel to further imports; otherwise at the first call that needs it.
        submit_timeout: Seconds within which the cluster must answer a submission.
    """

    def __init__(
        self,
        project: CompilerProject,
        job: str,
        log: Callable[[str], None],
        *,
        ahead: bool = False,
        submit_timeout: float = SUBMIT_TIMEOUT,
    ) -> None:
        self._project = project
        self._job = job
        self._log = log
        self._submit_timeout = submit_timeout
        self._process: ClientProcess | None = self._start() if ahead else None
        self._prepared: tuple[str, bool, Part | None] | None = None
        self._ready: Ready | None = None
        self._build: Build | None = None
        self._is_spent = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def prepare(self, target: Target, *, carry_over: bool = False, part: Part | None = None) -> Ready:
        """Compile the target; a second call with the same arguments returns the first result. Needed before `submit`.

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
        if self._ready is None or self._prepared != wanted:
            if self._prepared is not None:
                self.close()
            self._prepared = wanted
            self._build = self._order(target, carry_over=carry_over, part=part)
            self._ready = self._compile(self._build)
        return self._ready

    def inspect(self, path: str) -> State:
        """The operators with state and the source positions of a checkpoint or savepoint."""
        return self._running().inspect(path)

    def find(self, *directories: str) -> Found:
        """The newest complete checkpoint or savepoint among the direct children of the directories."""
        return self._running().find(*directories)

    def submit(self, order: Submit) -> None:
        """Submit the prepared job. A client process submits once: another submission compiles in a new process.

        After an error the client process has ended.

        Raises:
            FlinkError: the cluster refused.
            OperationError: the client process died or timed out. The cluster may have the job: ask it.
        """
        if self._is_spent and self._build is not None:
            self._end()
            self._compile(self._build)
        self._is_spent = True
        try:
            self._running().submit(order, timeout=self._submit_timeout)
        except BaseException:
            # The process must not send the submission later.
            self._end()
            raise

    def _end(self) -> None:
        if self._process is not None:
            self._process.close()
        self._process = None

    def close(self) -> None:
        """End the client process."""
        self._end()
        self._prepared = self._ready = self._build = None
        self._is_spent = False

    def _compile(self, order: Build) -> Ready:
        settings = self._project.settings
        ready = self._running().prepare(order, timeout=settings.prepare_timeout, root=settings.root)
        self._log(f"compiled: {len(ready.graph.vertices)} vertices, {ready.graph.slots} slots")
        return ready

    def _running(self) -> ClientProcess:
        if self._process is None:
            self._process = self._start()
        return self._process

    def _start(self) -> ClientProcess:
        lib, cache = self._project.flink_lib, self._project.settings.client_cache
        variables = {CACHE: str(cache), **({"FLINK_LIB_DIR": str(lib)} if lib else {})}
        return ClientProcess(
            self._project.settings.client_python,
            self._project.settings.logs / "client" / f"{self._job}.log",
            variables={**variables, **login_variables(self._project.flink)},
            on_progress=lambda step: self._log(f"{step.step}: {step.seconds:.1f} s"),
        )

    def _order(self, target: Target, *, carry_over: bool, part: Part | None) -> Build:
        from sluice.client.protocol import Build  # noqa: PLC0415 - the process can start without
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
