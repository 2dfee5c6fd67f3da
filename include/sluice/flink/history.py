"""What the REST API answers about a job's past: its checkpoints and its failures. Times are epoch milliseconds."""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from sluice.flink.models import Answer


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
    def words(self) -> str:
        """The failure and its root cause, a line."""
        lines = [line.strip() for line in self.stacktrace.splitlines() if line.strip()]
        causes = [line.removeprefix("Caused by: ") for line in lines if line.startswith("Caused by: ")]
        return (causes[-1] if causes else lines[0] if lines else self.exception_name or "unknown")[:500]


class ExceptionHistory(Answer):
    """A job's failures, newest first."""

    entries: tuple[ExceptionEntry, ...] = ()


class Exceptions(Answer):
    """A job's failures, as the API wraps them."""

    history: ExceptionHistory = Field(ExceptionHistory(), alias="exceptionHistory")
