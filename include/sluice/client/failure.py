"""Turn exceptions in the client into messages for the parent: the planner's text, with the job's file and line."""

from __future__ import annotations

import re
import traceback
from pathlib import Path

from py4j.protocol import Py4JJavaError

from sluice.client.protocol import Failed, FailureKind
from sluice.errors import CompileError, ConfigError, FlinkError, SchemaError, SluiceError, UnreachableError

_KINDS: dict[type[SluiceError], FailureKind] = {
    ConfigError: "config",
    CompileError: "compile",
    SchemaError: "schema",
    UnreachableError: "unreachable",
    FlinkError: "flink",
}


def failed(error: Exception, *, step: str, job: str, job_file: Path | None) -> Failed:
    """The message for the parent about an exception.

    Args:
        error: The exception.
        step: `load` (the job's file), `graph` (a stored graph), `build`, `compile`, `connect`, `checkpoint` or
            `submit`.
        job: The job's name.
        job_file: The job's source file, to name the line that caused the exception; None: not loaded yet.
    """
    detail = "".join(traceback.format_exception(error))
    if isinstance(error, SluiceError):
        return Failed(
            kind=_KINDS.get(type(error), "internal"), message=error.message, remedy=error.remedy, detail=detail
        )
    words = _words(error)
    if step == "checkpoint":
        return Failed(kind="state", message=f"the checkpoint can't be read: {words}", detail=detail)
    if step == "graph":
        return Failed(kind="internal", message=f"{job}: the graph can't be read: {words}", detail=detail)
    if step in ("connect", "submit"):
        kind: FailureKind = "unreachable" if step == "connect" else "flink"
        remedy = "check that the cluster runs and that its address is right" if step == "connect" else None
        return Failed(kind=kind, message=f"{job}: {words}", remedy=remedy, detail=detail)
    place = _place(error, job_file)
    return Failed(kind="compile", message=f"{place or job}: {words}", remedy="correct the pipeline", detail=detail)


_LINES = 5
"""Maximum number of lines of an error in a message; the log has all of them."""
_TRACE = re.compile(r"\s+at .*\(.*\)\s*|\s+\.\.\. \d+ (more|common frames omitted)\s*|\s+Suppressed: .*")
"""A line of a Java stack trace."""
_CLASS = re.compile(r"^(?:Caused by: )?(?:[\w$]+\.)+[\w$]+: ")
"""The class name before the message of a Java exception in its stack trace."""


def _words(error: Exception) -> str:
    if isinstance(error, Py4JJavaError):
        from pyflink.java_gateway import get_gateway  # noqa: PLC0415 - loaded already where Java has raised

        words: str = get_gateway().jvm.sluice.client.Failures.words(error.java_exception)
        return words
    trace = getattr(error, "stack_trace", None)
    if isinstance(trace, str):
        # PyFlink's JavaException and its subclasses have the whole stack trace as their text.
        causes = [line for line in trace.splitlines() if not _TRACE.fullmatch(line)]
        found = [_CLASS.sub("", line).strip() for line in causes]
        return _first_lines(": ".join(dict.fromkeys(line for line in found if line)))
    return _first_lines(f"{type(error).__name__}: {error}")


def _first_lines(text: str) -> str:
    """The first lines of a text, without stack trace lines."""
    lines = [line for line in text.splitlines() if not _TRACE.fullmatch(line)]
    return "\n".join([*lines[:_LINES], *(["(the log has the rest)"] if len(lines) > _LINES else [])])


def _place(error: Exception, job_file: Path | None) -> str | None:
    """File and line of the innermost frame in the job's own file."""
    if job_file is None:
        return None
    found = None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).name == job_file.name:
            found = f"{frame.filename}:{frame.lineno}"
    return found
