"""The main loop of the client process, `python -m sluice.client`, which `sluice.client.process` starts."""

from __future__ import annotations

import contextlib
import importlib
import os
import queue
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from sluice.client import jvm
from sluice.client.protocol import (
    Answer,
    Build,
    Failed,
    Find,
    Inspect,
    Load,
    Loaded,
    Order,
    Progress,
    Ready,
    Reply,
    Submit,
    Submitted,
)

if TYPE_CHECKING:
    from sluice.client.graph import PreparedJob
    from sluice.client.submission import Submission

ORPHANED = 3
"""Exit status after the parent process has ended."""


def main() -> int:
    """Read checkpoints, build the job, report that it is ready, wait, and submit it.

    The process ends at once when standard input closes.
    """  # Standard output carries the protocol: prints of the job, PyFlink or the JVM go to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    commands: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_read_orders, args=(commands,), daemon=True).start()

    jvm.set_environment()
    _start_jvm()
    return _Session(answers).run(commands)


class _Session:
    """The orders of one client process; tracks the current step for the message of a failure."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._number = 0
        self._order: Build | Load | None = None
        self._step = "load"
        self._since = time.monotonic()
        self._job_file: Path | None = None

    def run(self, commands: queue.Queue[str]) -> int:
        try:
            return self._run(commands)
        except Exception as error:  # noqa: BLE001 - any failure is sent to the parent
            self._send_failure(error, self._step)
            return 1

    def _run(self, commands: queue.Queue[str]) -> int:
        prepared: Submission | None = None
        while True:
            order = Order.model_validate_json(commands.get())
            self._number, command = order.number, order.command
            if isinstance(command, Inspect | Find):
                self._read_checkpoint(command)
            elif isinstance(command, Build) and prepared is None:
                prepared = self._prepare(command)
            elif isinstance(command, Load) and prepared is None:
                prepared = self._load(command)
            elif isinstance(command, Submit) and prepared is not None:
                self._step = "submit"
                self._send(Submitted(flink_job_id=prepared.submit(command)))
                return 0
            else:
                expected = "build or load" if prepared is None else "submit"
                self._send(Failed(kind="internal", message=f"expected {expected}, got {command.type}"))
                return 1

    def _prepare(self, order: Build) -> PreparedJob:
        from sluice.client import effects, graph, pipeline  # noqa: PLC0415 - they import PyFlink

        self._order, self._since = order, time.monotonic()
        env, t_env = pipeline.environments(order)
        self._done("environment")
        with effects.captured(order, env, t_env) as captured:
            job = pipeline.load_job(order)
            self._job_file = job.file
            self._step = "build"
            built = pipeline.build(order, job, env, t_env)
            if order.part is None:
                built = built.with_own(captured.include(built.statements), streams=captured.has_streams)
        self._done("build")
        self._step = "compile"
        prepared = graph.PreparedJob(built, order)
        self._done("compile")
        self._step = "connect"
        prepared.warm()
        self._done("connect")
        self._send(
            Ready(
                graph=prepared.facts(),
                content=None if order.part else prepared.content(),
                files=prepared.uploaded_files(),
            )
        )
        return prepared

    def _load(self, order: Load) -> Submission:
        from sluice.client.submission import Submission, deserialize  # noqa: PLC0415 - it imports PyFlink

        self._order, self._since, self._step = order, time.monotonic(), "graph"
        loaded = Submission(order.job, deserialize(order.content))
        self._done("graph")
        self._step = "connect"
        loaded.connect(order.options)
        loaded.warm()
        self._done("connect")
        self._send(Loaded())
        return loaded

    def _read_checkpoint(self, command: Inspect | Find) -> None:
        """Answer a request about checkpoints; the process continues if one can't be read."""
        try:
            from sluice.client import checkpoint  # noqa: PLC0415

            found = checkpoint.inspect(command.path) if isinstance(command, Inspect) else checkpoint.find(command)
        except Exception as error:  # noqa: BLE001 - any failure is sent to the parent
            self._send_failure(error, "checkpoint")
        else:
            self._send(found)

    def _send_failure(self, error: Exception, step: str) -> None:
        from sluice.client.failure import failed  # noqa: PLC0415

        job = self._order.job if self._order else ""
        failure = failed(error, step=step, job=job, job_file=self._job_file)
        print(failure.detail, file=sys.stderr)
        self._send(failure)

    def _send(self, answer: Answer) -> None:
        self._answers.write(Reply(number=self._number, answer=answer).line())
        self._answers.flush()

    def _done(self, step: str) -> None:
        now = time.monotonic()
        self._send(Progress(step=step, seconds=round(now - self._since, 3)))
        self._since = now


def _start_jvm() -> None:
    """Start the JVM while PyFlink is imported and before the first order arrives.

    Errors are ignored here: the order raises them again.
    """
    starting = threading.Thread(target=_suppressed, args=(jvm.start,))
    starting.start()
    _suppressed(lambda: importlib.import_module("sluice.client.graph"))
    starting.join()


def _suppressed(step: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        step()


def _read_orders(commands: queue.Queue[str]) -> None:
    """Queue the lines from standard input; end the process at once when the parent closes it.

    The JVM ends as well: it reads a pipe from this process in the same way.
    """
    for line in sys.stdin:
        commands.put(line)
    os._exit(ORPHANED)


if __name__ == "__main__":
    status = main()
    # A normal exit would wait for PyFlink's threads.
    os._exit(status)
