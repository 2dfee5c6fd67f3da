"""The parent's side of the client process: start it, send orders, make sure that it ends."""

from __future__ import annotations

import contextlib
import os
import queue
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self, TypeVar

from pydantic import ValidationError

from sluice.client.environment import FILES, client_environment
from sluice.client.protocol import (
    Build,
    Command,
    Failed,
    FailureKind,
    Find,
    Found,
    Inspect,
    Load,
    Loaded,
    Order,
    Progress,
    Ready,
    Reply,
    State,
    Submit,
    Submitted,
)
from sluice.errors import (
    CompileError,
    ConfigError,
    FlinkError,
    OperationError,
    RefusedError,
    SchemaError,
    SluiceError,
    StateError,
    UnreachableError,
)

A = TypeVar("A", Ready, Loaded, State, Found, Submitted)

_ERRORS: dict[FailureKind, type[SluiceError]] = {
    "config": ConfigError,
    "compile": CompileError,
    "schema": SchemaError,
    "flink": FlinkError,
    "unreachable": UnreachableError,
    "state": StateError,
    "internal": OperationError,
}

_TRACE = ("Traceback (", "Caused by:", "During handling of", "The above exception")
"""Prefixes of the lines of a stack trace that are not indented."""
JVM_ARGS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512m"
"""JVM options for a process that lives for seconds: only the C1 compiler and one GC thread, which start faster."""

TEMPORARY = "-Djava.io.tmpdir="
"""The option of a client's JVM with its directory for temporary files."""


class ClientProcess:
    """A client process with its JVM; a context manager that ends both.

    It answers one order at a time. If an answer is late or unreadable, the process and its JVM are killed at once. So
    the order has no effect later (unless its request has left already), and its answer can't be mistaken for that to
    the next order. Further orders then fail with the reason for which the process was killed.

    Attributes:
        compiles: The client takes the order to build a job; False: it takes a graph after each submission instead.

    Args:
        python: The Python interpreter with PyFlink and Sluice.
        command: The command of a client that submits and doesn't compile; None: the interpreter's client, which does
            both.
        log: The file to which the client's standard error is appended.
        variables: Further environment variables; for those from the parent see `sluice.client.environment`.
        on_progress: Called for each step that the client reports.

    Raises:
        ConfigError: the interpreter can't be run.
    """

    def __init__(
        self,
        python: Path,
        log: Path,
        *,
        command: Sequence[str] | None = None,
        variables: Mapping[str, str] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._log = log
        self._on_progress = on_progress or (lambda _progress: None)
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        self.compiles = command is None
        variables = {"JVM_ARGS": JVM_ARGS, **client_environment(os.environ), **(variables or {})}
        # While Flink's REST client submits a graph, which may contain secrets, the graph is in a temporary file. If the
        # JVM is killed during that time, the file remains. So only this user can read its directory, which is deleted
        # with the process.
        self._files = TemporaryDirectory(prefix="sluice-client-", ignore_cleanup_errors=True)
        variables[FILES] = self._files.name
        option = f"{TEMPORARY}{self._files.name}"
        if command is not None:
            # Before the class: the last of several options counts.
            command = [*command[:-1], option, command[-1]]
        else:
            command = [str(python), "-m", "sluice.client"]
            # PyFlink splits the options at spaces.
            if not any(map(str.isspace, option)):
                variables["JVM_ARGS"] = f"{variables['JVM_ARGS']} {option}"
        try:
            with log.open("ab") as errors:
                self._process = subprocess.Popen(
                    command,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    env=variables,
                    start_new_session=True,
                )
        except OSError as error:
            self._files.cleanup()
            raise ConfigError(
                f"the client's interpreter {python} can't be run: {error.strerror}",
                remedy="set SLUICE_CLIENT_PYTHON to a Python interpreter with PyFlink and Sluice",
            ) from error
        self._number = 0
        self._ended: str | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read_output, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def has_ended(self) -> bool:
        """Whether the process was killed or closed: it takes no further order."""
        return self._ended is not None

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def prepare(self, order: Build, *, timeout: float, root: Path | None = None) -> Ready:
        """Build and compile the job within `timeout` seconds.

        With the project's `root`, error messages name the job's file there instead of the one in the artifact.

        Raises:
            ConfigError, CompileError, SchemaError: the job has an error; nothing was changed.
            UnreachableError: the cluster doesn't answer.
            OperationError: the client died or timed out.
        """
        try:
            return self._ask("prepare", order, Ready, timeout, order.job)
        except RefusedError as error:
            words = error.message.replace(f"{order.code}/", f"{root or order.code}/")
            raise type(error)(words, remedy=error.remedy) from error

    def load(self, order: Load, *, timeout: float) -> None:
        """Take over a compiled graph, and connect to the cluster, within `timeout` seconds.

        Raises:
            UnreachableError: the cluster doesn't answer.
            OperationError: the graph can't be read, or the client died or timed out.
        """
        self._ask("load", order, Loaded, timeout, order.job)

    def inspect(self, path: str, *, timeout: float = 60) -> State:
        """The operators with state and the source positions of a checkpoint or savepoint.

        Raises:
            StateError: it can't be read.
            OperationError: the client died or timed out.
        """
        return self._ask("inspect", Inspect(path=path), State, timeout, path)

    def find(self, *directories: str, timeout: float = 60) -> Found:
        """The newest complete checkpoint or savepoint among the direct children of these directories.

        Raises:
            StateError: a directory can't be read.
            OperationError: the client died or timed out.
        """
        return self._ask("find", Find(directories=directories), Found, timeout, ", ".join(directories))

    def submit(self, order: Submit, *, timeout: float) -> Submitted:
        """Submit the prepared job; the cluster must answer within `timeout` seconds.

        After an error the cluster may have the job or not: ask it for the id.

        Raises:
            FlinkError: the cluster refused.
            OperationError: the client died or timed out.
        """
        return self._ask("submit", order, Submitted, timeout, order.flink_job_id)

    def close(self) -> None:
        """End the process and its JVM by closing its standard input; kill them if that doesn't end them."""
        self._ended = self._ended or "it was closed"
        if self._process.stdin and not self._process.stdin.closed:
            # A broken pipe means that the process has ended already.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._kill()
        if self._process.stdout:
            self._process.stdout.close()
        self._remove_files()

    def _ask(self, step: str, command: Command, expected: type[A], timeout: float, what: str) -> A:
        """Send an order and wait for an answer of the expected type; `what` names the subject in error messages."""
        if self._ended:
            raise OperationError(
                f"client process: {step} is not possible after the process was killed: {self._ended}",
                remedy=f"see {self._log}",
            )
        self._number += 1
        try:
            deadline = time.monotonic() + timeout
            self._send(Order(number=self._number, command=command).line(), deadline, timeout, step)
            answer = self._await(deadline, timeout, step)
        except _ClientFailureError as failure:
            raise failure.error from None
        except BaseException as error:
            # After an interruption as well: the answer would still arrive.
            why = error.message if isinstance(error, SluiceError) else f"{step} was interrupted"
            self._end(why.removeprefix("client process: "))
            raise
        if not isinstance(answer, expected):
            self._end(f"{step} was answered by {answer.type}")
            raise OperationError(
                f"{what}: the client process answered {answer.type}, expected {expected.__name__.lower()}",
                remedy="SLUICE_CLIENT_PYTHON may have another version of Sluice: install this one there",
            )
        return answer

    def _send(self, line: str, deadline: float, timeout: float, step: str) -> None:
        """Write a line on another thread: the process may not read it, and a pipe holds only 64 KB."""
        failures: list[Exception] = []
        writer = threading.Thread(target=self._write, args=(line, failures), daemon=True)
        writer.start()
        writer.join(max(0.0, deadline - time.monotonic()))
        if writer.is_alive():
            raise self._late(step, timeout)
        if failures:
            raise self._died() from failures[0]

    def _write(self, line: str, failures: list[Exception]) -> None:
        try:
            if self._process.stdin is not None:
                self._process.stdin.write(line)
                self._process.stdin.flush()
        except (OSError, ValueError) as error:
            failures.append(error)

    def _late(self, step: str, timeout: float) -> OperationError:
        return OperationError(f"client process: {step} took longer than {timeout:.0f} s", remedy=f"see {self._log}")

    def _await(self, deadline: float, timeout: float, step: str) -> Ready | Loaded | State | Found | Submitted:
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise self._late(step, timeout) from None
            if line is None:
                raise self._died()
            answer = self._read_reply(line)
            if isinstance(answer, Progress):
                self._on_progress(answer)
            elif isinstance(answer, Failed):
                raise _ClientFailureError(_ERRORS[answer.kind](answer.message, remedy=answer.remedy))
            else:
                return answer

    def _read_reply(self, line: str) -> Progress | Ready | Loaded | State | Found | Submitted | Failed:
        """Parse a line as the answer to the last order."""
        try:
            reply = Reply.model_validate_json(line)
        except ValidationError as error:
            raise OperationError(
                f"client process: unreadable answer {line[:200]!r}", remedy=f"see {self._log}"
            ) from error
        if reply.number != self._number:
            raise OperationError(
                f"client process: expected the answer to order {self._number}, got one to order {reply.number}",
                remedy=f"see {self._log}",
            )
        return reply.answer

    def _end(self, why: str) -> None:
        """Kill the process and its JVM now."""
        self._ended = why
        self._kill()

    def _kill(self) -> None:
        # The process was started in a new session, so that its group has only itself and its JVM.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()
        self._remove_files()

    def _remove_files(self) -> None:
        self._files.cleanup()
        # A JVM that has not ended yet may have written another file during the cleanup.
        shutil.rmtree(self._files.name, ignore_errors=True)

    def _died(self) -> OperationError:
        try:
            status = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return OperationError("client process closed its output but doesn't end", remedy=f"see {self._log}")
        words = last_log_line(self._log.read_text(encoding="utf-8", errors="replace")[-4000:])
        return OperationError(f"client process ended with status {status}: {words}", remedy=f"see {self._log}")

    def _read_output(self) -> None:
        if self._process.stdout is None:
            return
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


class _ClientFailureError(Exception):
    """The client answered with an error, and the process is usable. Caught in this module."""

    def __init__(self, error: SluiceError) -> None:
        super().__init__(str(error))
        self.error = error


def last_log_line(log: str) -> str:
    """The last line of a log that isn't part of a stack trace, shortened to 300 characters."""
    lines = [line.rstrip() for line in log.splitlines()]
    words = [line for line in lines if line and not line[0].isspace() and not line.startswith(_TRACE)]
    return words[-1][:300] if words else "it wrote nothing"
