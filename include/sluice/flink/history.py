"""The REST API's answers about a job's checkpoints and failures. Times are epoch milliseconds."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from sluice.flink.models import Answer

_TRACEBACK = "Traceback (most recent call last):"
"""First line of a Python traceback; of chained exceptions the last traceback is that of the raised one."""
_PYTHON_ERROR = re.compile(r"[A-Za-z_][\w.]*(?::.*)?$")
"""The last line of a traceback: the exception's class, and its message if it has one."""


class CheckpointCounts(Answer):
    """Numbers of checkpoints since the job was submitted."""

    restored: int
    completed: int
    failed: int


class Checkpoint(Answer):
    """A checkpoint or savepoint: in progress, completed or failed."""

    id: int
    status: Literal["IN_PROGRESS", "COMPLETED", "FAILED"] = "COMPLETED"
    trigger_timestamp: int
    latest_ack_timestamp: int | None = None
    state_size: int | None = None
    """Bytes."""
    end_to_end_duration: int | None = None
    """Milliseconds."""
    external_path: str | None = None
    is_savepoint: bool = False
    failure_timestamp: int | None = None
    failure_message: str | None = None


class Restored(Answer):
    """The checkpoint or savepoint that the job was restored from."""

    id: int
    is_savepoint: bool
    external_path: str | None = None


class LatestCheckpoints(Answer):
    """The newest checkpoint, savepoint and restore."""

    completed: Checkpoint | None = None
    savepoint: Checkpoint | None = None
    restored: Restored | None = None


class Checkpoints(Answer):
    """A job's checkpoints."""

    counts: CheckpointCounts
    latest: LatestCheckpoints
    history: tuple[Checkpoint, ...] = ()
    """Newest first; the cluster keeps `web.checkpoints.history` (10) of them."""


class ExceptionEntry(Answer):
    """A failure of the job."""

    timestamp: int
    exception_name: str | None = Field(None, alias="exceptionName")
    stacktrace: str = ""

    @property
    def python_error(self) -> str | None:
        """The last line of the Python traceback in the stack trace; None: the failure isn't of Python code."""
        _, found, traceback = self.stacktrace.rpartition(_TRACEBACK)
        if not found:
            return None
        for line in traceback.splitlines():
            # The frames are indented; the line after them begins with the exception's class.
            if match := _PYTHON_ERROR.match(line):
                return match[0].strip()[:500]
            if line.startswith("\tat "):
                return None
        return None

    @property
    def words(self) -> str:
        """The failure's root cause in one line: the Python exception if there is one."""
        if python := self.python_error:
            return python
        lines = [line.strip() for line in self.stacktrace.splitlines() if line.strip()]
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        return (causes[-1] if causes else lines[0] if lines else self.exception_name or "unknown")[:500]


class ExceptionHistory(Answer):
    """A job's failures, newest first."""

    entries: tuple[ExceptionEntry, ...] = ()


class Exceptions(Answer):
    """The answer that contains the exception history."""

    history: ExceptionHistory = Field(alias="exceptionHistory")
