"""The parent's side: start a client process, talk to it, make sure it ends."""

from __future__ import annotations

import contextlib
import os
import queue
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from pydantic import ValidationError

from sluice.client.environment import client_environment
from sluice.client.protocol import (
    Build,
    Command,
    Failed,
    FailureKind,
    Find,
    Found,
    Inspect,
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

A = TypeVar("A", Ready, State, Found, Submitted)

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
"""How lines begin that belong to a stack trace without being indented."""
JVM_ARGS = "-XX:TieredStopAtLevel=1 -XX:+UseSerialGC -Xmx512m"
"""For a process that lives some seconds C1 alone compiles enough, one thread collects enough, and both start sooner."""


class ClientProcess:
    """A client process, as a context: leaving it ends the process and its JVM.

    It answers one order at a time. An order that isn't answered in time, or not readably, ends the process and its JVM
    at once: what it was doing can't take effect later, as far as the request hasn't left it, and its answer can't be
    taken for that to another order. Every further order then fails and says why the process was ended.

    Args:
        python: The interpreter that has PyFlink and Sluice.
        log: Where the client's standard error goes, appended.
        variables: Environment variables beside those that it takes from the parent's: see
            `sluice.client.environment`.
        on_progress: Called for each step that the client reports.

    Raises:
        ConfigError: there is no such interpreter.
    """

    def __init__(
        self,
        python: Path,
        log: Path,
        *,
        variables: Mapping[str, str] | None = None,
        on_progress: Callable[[Progress], None] | None = None,
    ) -> None:
        self._log = log
        self._on_progress = on_progress or (lambda _progress: None)
        log.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        variables = {"JVM_ARGS": JVM_ARGS, **client_environment(os.environ), **(variables or {})}
        try:
            with log.open("ab") as errors:
                self._process = subprocess.Popen(
                    [str(python), "-m", "sluice.client"],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    text=True,
                    env=variables,
                    start_new_session=True,
                )
        except OSError as error:
            raise ConfigError(
                f"the client's interpreter {python} can't be run: {error.strerror}",
                remedy="set SLUICE_CLIENT_PYTHON to the Python that has PyFlink and Sluice",
            ) from error
        self._number = 0
        self._ended: str | None = None
        self._lines: queue.Queue[str | None] = queue.Queue()
        threading.Thread(target=self._read, daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def prepare(self, order: Build, *, timeout: float, root: Path | None = None) -> Ready:
        """Have the job built and compiled; seconds until it must be ready.

        With the project's `root`, a refusal names the job's file there and not inside the artifact.

        Raises:
            ConfigError, CompileError, SchemaError: the job is at fault; nothing was touched.
            UnreachableError: the cluster doesn't answer.
            OperationError: the client died or took too long.
        """
        try:
            return self._ask("prepare", order, Ready, timeout, order.job)
        except RefusedError as error:
            words = error.message.replace(f"{order.code}/", f"{root or order.code}/")
            raise type(error)(words, remedy=error.remedy) from error

    def inspect(self, path: str, *, timeout: float = 60) -> State:
        """What a checkpoint or savepoint holds.

        Raises:
            StateError: it can't be read.
            OperationError: the client died or took too long.
        """
        return self._ask("inspect", Inspect(path=path), State, timeout, path)

    def find(self, *directories: str, timeout: float = 60) -> Found:
        """The newest complete checkpoint or savepoint directly below these directories.

        Raises:
            StateError: they can't be read.
            OperationError: the client died or took too long.
        """
        return self._ask("find", Find(directories=directories), Found, timeout, ", ".join(directories))

    def submit(self, order: Submit, *, timeout: float) -> Submitted:
        """Submit the prepared job; seconds until the cluster must have answered.

        An error does not tell whether the cluster has the job: ask it for the id.

        Raises:
            FlinkError: the cluster refused.
            OperationError: the client died or took too long.
        """
        return self._ask("submit", order, Submitted, timeout, order.flink_job_id)

    def close(self) -> None:
        """End the process: closing its input is enough for it and its JVM; a kill follows if it isn't."""
        self._ended = self._ended or "it was closed"
        if self._process.stdin and not self._process.stdin.closed:
            # A broken pipe means that it has ended already.
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._kill()
        if self._process.stdout:
            self._process.stdout.close()

    def _ask(self, step: str, command: Command, expected: type[A], timeout: float, what: str) -> A:
        """Send an order and wait for its answer, of a type that is expected; `what` is asked about."""
        if self._ended:
            raise OperationError(
                f"client process: {step} can't be done, the process was ended: {self._ended}", remedy=f"see {self._log}"
            )
        self._number += 1
        try:
            self._send(Order(number=self._number, command=command))
            answer = self._await(timeout, step)
        except _Said as said:
            raise said.error from None
        except BaseException as error:
            # Also an interruption: its answer would still come.
            why = error.message if isinstance(error, SluiceError) else f"{step} was interrupted"
            self._end(why.removeprefix("client process: "))
            raise
        if not isinstance(answer, expected):
            self._end(f"{step} was answered by {answer.type}")
            raise OperationError(f"{what}: the client answered {answer.type}, expected {expected.__name__.lower()}")
        return answer

    def _send(self, order: Order) -> None:
        if self._process.stdin is None:
            raise OperationError("the client process has no input")
        try:
            self._process.stdin.write(order.line())
            self._process.stdin.flush()
        except (BrokenPipeError, ValueError) as error:
            raise self._died() from error

    def _await(self, timeout: float, step: str) -> Ready | State | Found | Submitted:
        deadline = time.monotonic() + timeout
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise OperationError(
                    f"client process: {step} took longer than {timeout:.0f} s", remedy=f"see {self._log}"
                ) from None
            if line is None:
                raise self._died()
            answer = self._read_reply(line)
            if isinstance(answer, Progress):
                self._on_progress(answer)
            elif isinstance(answer, Failed):
                raise _Said(_ERRORS[answer.kind](answer.message, remedy=answer.remedy))
            else:
                return answer

    def _read_reply(self, line: str) -> Progress | Ready | State | Found | Submitted | Failed:
        """The answer on a line, if it is one to the last order."""
        try:
            reply = Reply.model_validate_json(line)
        except ValidationError as error:
            raise OperationError(
                f"client process: unreadable answer {line[:200]!r}", remedy=f"see {self._log}"
            ) from error
        if reply.number != self._number:
            raise OperationError(
                f"client process: got an answer to order {reply.number}, expected one to order {self._number}",
                remedy=f"see {self._log}",
            )
        return reply.answer

    def _end(self, why: str) -> None:
        """Kill the process and its JVM now."""
        self._ended = why
        self._kill()

    def _kill(self) -> None:
        # A session of its own: its process group is its own and its JVM's.
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _died(self) -> OperationError:
        try:
            status = self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            return OperationError("client process closed its output and doesn't end", remedy=f"see {self._log}")
        words = last_words(self._log.read_text(encoding="utf-8", errors="replace")[-4000:])
        return OperationError(f"client process ended with status {status}: {words}", remedy=f"see {self._log}")

    def _read(self) -> None:
        if self._process.stdout is None:
            return
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put(None)


class _Said(Exception):  # noqa: N818 - carries what the client said; never leaves this module
    """The client answered that it failed: it is in order itself."""

    def __init__(self, error: SluiceError) -> None:
        super().__init__(str(error))
        self.error = error


def last_words(log: str) -> str:
    """The last line of a log that isn't part of a stack trace, at most 300 characters."""
    lines = [line.rstrip() for line in log.splitlines()]
    words = [line for line in lines if line and not line[0].isspace() and not line.startswith(_TRACE)]
    return words[-1][:300] if words else "it wrote nothing"
