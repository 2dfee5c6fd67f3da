"""What went wrong in the client, in words: the planner's own, with the job's file and line."""

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
    """An exception as the message for the parent.

    Args:
        error: What was raised.
        step: `load`, `build`, `compile`, `connect`, `checkpoint` or `submit`.
        job: The job's name.
        job_file: Its source file, to name the line that led there.
    """
    detail = "".join(traceback.format_exception(error))
    if isinstance(error, SluiceError):
        return Failed(
            kind=_KINDS.get(type(error), "internal"), message=error.message, remedy=error.remedy, detail=detail
        )
    words = _words(error)
    if step == "checkpoint":
        return Failed(kind="state", message=f"the checkpoint can't be read: {words}", detail=detail)
    if step in ("connect", "submit"):
        kind: FailureKind = "unreachable" if step == "connect" else "flink"
        remedy = "check the cluster's address and that it answers" if step == "connect" else None
        return Failed(kind=kind, message=f"{job}: {words}", remedy=remedy, detail=detail)
    place = _place(error, job_file)
    return Failed(kind="compile", message=f"{place or job}: {words}", remedy="mend the pipeline", detail=detail)


def java_words(error: Py4JJavaError) -> str:
    """The messages of a Java exception and its causes, outermost first, without repeats or stack."""
    words: list[str] = []
    cause = error.java_exception
    while cause is not None and len(words) < 5:
        text = cause.getMessage()
        # The parser lists every token that it would have taken.
        first = str(text).partition("\nWas expecting")[0].strip() if text else cause.getClass().getSimpleName()
        if not any(first in earlier for earlier in words):
            words.append(first)
        cause = cause.getCause()
    return ": ".join(words)


_LINES = 5
"""How many lines of an error a message shows at most; the log has all of them."""
_TRACE = re.compile(r"\s+at .*\(.*\)\s*|\s+\.\.\. \d+ (more|common frames omitted)\s*|\s+Suppressed: .*")
"""A line of a Java stack trace."""
_CLASS = re.compile(r"^(?:Caused by: )?(?:[\w$]+\.)+[\w$]+: ")
"""What stands before the words of a Java exception in its stack trace."""


def _words(error: Exception) -> str:
    if isinstance(error, Py4JJavaError):
        return _first_lines(java_words(error))
    trace = getattr(error, "stack_trace", None)
    if isinstance(trace, str):
        # PyFlink's JavaException and its subclasses have the whole trace as their words.
        causes = [line for line in trace.splitlines() if not _TRACE.fullmatch(line)]
        found = [_CLASS.sub("", line).strip() for line in causes]
        return _first_lines(": ".join(dict.fromkeys(line for line in found if line)))
    return _first_lines(f"{type(error).__name__}: {error}")


def _first_lines(text: str) -> str:
    """Text without the lines of a stack trace, and without what a planner prints beyond the first lines."""
    lines = [line for line in text.splitlines() if not _TRACE.fullmatch(line)]
    return "\n".join([*lines[:_LINES], *(["(the log has the rest)"] if len(lines) > _LINES else [])])


def _place(error: Exception, job_file: Path | None) -> str | None:
    """File and line of the innermost frame that lies in the job's own file."""
    if job_file is None:
        return None
    found = None
    for frame in traceback.extract_tb(error.__traceback__):
        if Path(frame.filename).name == job_file.name:
            found = f"{frame.filename}:{frame.lineno}"
    return found
