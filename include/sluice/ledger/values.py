"""The values of the ledger's columns. They are stored, so that they never change."""

from __future__ import annotations

from enum import StrEnum


class Phase(StrEnum):
    """What a job's placement says of its Flink job. `sluice.ledger.transitions` shows how one follows the other."""

    RUNNING = "running"
    """It was submitted, and should run."""
    STOPPING = "stopping"
    """It is being stopped, and a start follows."""
    STOPPED = "stopped"
    """It has ended, and a start follows."""
    SUSPENDING = "suspending"
    """It is being stopped, and no start follows."""
    SUSPENDED = "suspended"
    """It has ended, and stays down until it is resumed."""


class StopMode(StrEnum):
    """How a Flink job is stopped: as the plan's mode says, or by a cancel that takes no state."""

    SAVEPOINT = "savepoint"
    LAST_STATE = "last-state"
    STATELESS = "stateless"
    CANCEL = "cancel"


class Outcome(StrEnum):
    """How an operation ended."""

    HEALTHY = "healthy"
    """The job was started, and has passed its gates."""
    UNCHANGED = "unchanged"
    """It ran the desired release already, and has passed its gates."""
    RECORDED = "recorded"
    """The running job was recorded as a new release, which compiles to the same graph."""
    SUSPENDED = "suspended"
    """It was stopped, and stays down until it is resumed."""
    ROLLED_BACK = "rolled_back"
    """The new release failed, and the former one runs again."""
    FAILED = "failed"
    """The operation failed; its reason says what was changed."""
    ABANDONED = "abandoned"
    """Its process ended, and another operation has taken its place."""
    TAKEN = "taken"
    """A savepoint was taken."""

    @property
    def is_healthy(self) -> bool:
        """Whether the job runs the operation's release, and has passed its gates."""
        return self in (Outcome.HEALTHY, Outcome.UNCHANGED, Outcome.RECORDED)

    @property
    def is_success(self) -> bool:
        """Whether a deploy, rollback, suspension or resumption ended as requested."""
        return self.is_healthy or self is Outcome.SUSPENDED
