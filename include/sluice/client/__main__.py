"""The client process's own loop: `python -m sluice.client`, spoken to by `sluice.client.process`."""

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
    Order,
    Progress,
    Ready,
    Reply,
    Submit,
    Submitted,
)

if TYPE_CHECKING:
    from sluice.client.graph import PreparedJob

ORPHANED = 3
"""Exit status when the parent is gone."""


def main() -> int:
    """Look at checkpoints, build, say ready, wait, submit. Ends at once when standard input closes."""
    # Standard output belongs to the protocol: what the job, PyFlink or the JVM print goes to standard error.
    answers = os.fdopen(os.dup(1), "w", buffering=1, encoding="utf-8")
    os.dup2(2, 1)
    commands: queue.Queue[str] = queue.Queue()
    threading.Thread(target=_listen, args=(commands,), daemon=True).start()

    jvm.set_environment()
    _start_jvm()
    return _Session(answers).run(commands)


class _Session:
    """One client process; remembers the step for the message of a failure."""

    def __init__(self, answers: TextIO) -> None:
        self._answers = answers
        self._number = 0
        self._order: Build | None = None
        self._step = "load"
        self._since = time.monotonic()
        self._job_file: Path | None = None

    def run(self, commands: queue.Queue[str]) -> int:
        try:
            return self._run(commands)
        except Exception as error:  # noqa: BLE001 - whatever it was, the parent is told
            self._tell_failure(error, self._step)
            return 1

    def _run(self, commands: queue.Queue[str]) -> int:
        prepared: PreparedJob | None = None
        while True:
            order = Order.model_validate_json(commands.get())
            self._number, command = order.number, order.command
            if isinstance(command, Inspect | Find):
                self._look(command)
            elif isinstance(command, Build) and prepared is None:
                prepared = self._prepare(command)
            elif isinstance(command, Submit) and prepared is not None:
                self._step = "submit"
                self._say(Submitted(flink_job_id=prepared.submit(command)))
                return 0
            else:
                expected = "build" if prepared is None else "submit"
                self._say(Failed(kind="internal", message=f"expected {expected}, got {command.type}"))
                return 1

    def _prepare(self, order: Build) -> PreparedJob:
        from sluice.client import effects, graph, pipeline  # noqa: PLC0415 - needs PyFlink, as does all below

        self._order, self._since = order, time.monotonic()
        env, t_env = pipeline.environments(order)
        self._done("environment")
        with effects.refused(order, env) as refused:
            job = pipeline.load_job(order)
            self._job_file = job.file
            self._step = "build"
            built = pipeline.build(order, job, env, t_env)
            refused.check_sinks(built.statements)
        self._done("build")
        self._step = "compile"
        prepared = graph.PreparedJob(built, order)
        self._done("compile")
        self._step = "connect"
        prepared.warm()
        self._done("connect")
        self._say(Ready(graph=prepared.facts()))
        return prepared

    def _look(self, command: Inspect | Find) -> None:
        """Answer a question about checkpoints; one that can't be read ends nothing."""
        try:
            from sluice.client import checkpoint  # noqa: PLC0415

            found = checkpoint.inspect(command.path) if isinstance(command, Inspect) else checkpoint.find(command)
        except Exception as error:  # noqa: BLE001 - the parent is told
            self._tell_failure(error, "checkpoint")
        else:
            self._say(found)

    def _tell_failure(self, error: Exception, step: str) -> None:
        from sluice.client.failure import failed  # noqa: PLC0415

        job = self._order.job if self._order else ""
        failure = failed(error, step=step, job=job, job_file=self._job_file)
        print(failure.detail, file=sys.stderr)
        self._say(failure)

    def _say(self, answer: Answer) -> None:
        self._answers.write(Reply(number=self._number, answer=answer).line())
        self._answers.flush()

    def _done(self, step: str) -> None:
        now = time.monotonic()
        self._say(Progress(step=step, seconds=round(now - self._since, 3)))
        self._since = now


def _start_jvm() -> None:
    """Have the JVM start while PyFlink is loaded and the order is on its way.

    What fails here fails again with the order.
    """
    starting = threading.Thread(target=_suppressed, args=(jvm.start,))
    starting.start()
    _suppressed(lambda: importlib.import_module("sluice.client.graph"))
    starting.join()


def _suppressed(step: Callable[[], object]) -> None:
    with contextlib.suppress(Exception):
        step()


def _listen(commands: queue.Queue[str]) -> None:
    """Pass lines on; end the process when the parent is gone, whatever it is doing.

    The JVM reads our pipe the same way and ends with us.
    """
    for line in sys.stdin:
        commands.put(line)
    os._exit(ORPHANED)


if __name__ == "__main__":
    status = main()
    # A normal exit would wait for PyFlink's threads; everything worth saying has been said.
    os._exit(status)
