"""What the REST API answers about a job's past: its checkpoints and its failures. Times are epoch milliseconds."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import Field

from sluice.flink.models import Answer

_TRACEBACK = "Traceback (most recent call last):"
"""How Python begins what it prints of an error; of chained errors the last one is the one that was raised."""
_PYTHON_ERROR = re.compile(r"[A-Za-z_][\w.]*(?::.*)?$")
"""A class's name, and the message if there is one."""


class CheckpointCounts(Answer):
    """How many checkpoints there were since the job began to run."""

    restored: int
    completed: int
    failed: int
    in_progress: int


class Checkpoint(Answer):
    """A checkpoint or savepoint: under way, completed or failed."""

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
    """What the job was restored from."""

    id: int
    restore_timestamp: int
    is_savepoint: bool
    external_path: str | None = None


class LatestCheckpoints(Answer):
    """The newest of each kind."""

    completed: Checkpoint | None = None
    savepoint: Checkpoint | None = None
    restored: Restored | None = None


class Checkpoints(Answer):
    """A job's checkpoints."""

    counts: CheckpointCounts
    latest: LatestCheckpoints
    history: tuple[Checkpoint, ...] = ()
    """The newest ones, newest first: as many as `web.checkpoints.history` says (10)."""


class ExceptionEntry(Answer):
    """A failure of the job."""

    timestamp: int
    exception_name: str | None = Field(None, alias="exceptionName")
    stacktrace: str = ""

    @property
    def python_error(self) -> str | None:
        """The error that the job's Python code has raised, as the last line of its traceback; None: there is none."""
        _, found, traceback = self.stacktrace.rpartition(_TRACEBACK)
        if not found:
            return None
        for line in traceback.splitlines():
            # The frames are indented; what follows them begins with the error's class.
            if match := _PYTHON_ERROR.match(line):
                return match[0].strip()[:500]
            if line.startswith("\tat "):
                return None
        return None

    @property
    def words(self) -> str:
        """The failure's root cause, a line: the Python error where Python code has raised it."""
        if python := self.python_error:
            return python
        lines = [line.strip() for line in self.stacktrace.splitlines() if line.strip()]
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        return (causes[-1] if causes else lines[0] if lines else self.exception_name or "unknown")[:500]


class ExceptionHistory(Answer):
    """A job's failures, newest first."""

    entries: tuple[ExceptionEntry, ...] = ()


class Exceptions(Answer):
    """A job's failures, as the API wraps them."""

    history: ExceptionHistory = Field(alias="exceptionHistory")
