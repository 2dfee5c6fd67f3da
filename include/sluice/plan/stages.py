"""The stages of an operation, in the order in which they are carried out. Each is a value named by its intent.

`sluice.operation` carries them out and `sluice.plan.explain` shows them, both from the plan's list of stages.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from sluice.ledger.tables import StopMode


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CreateTopics(_Stage):
    """Bring the broker's topics to what the job declares. Absent when they are already so."""

    stage: Literal["create_topics"] = "create_topics"
    topics: tuple[str, ...]

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return f"topics: {'; '.join(self.topics)}"


class AddRelease(_Stage):
    """Number the release and enter it in the ledger. Absent when the target is an existing release."""

    stage: Literal["add_release"] = "add_release"

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return "enter the release in the ledger"


class Prepare(_Stage):
    """Compile the release and keep its client connected. The running job isn't touched."""

    stage: Literal["prepare"] = "prepare"

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return "compile the release; its client waits"


class Stop(_Stage):
    """Stop the running job. Absent when nothing runs."""

    stage: Literal["stop"] = "stop"
    flink_job_id: str
    mode: StopMode
    suspend: bool = False

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        how = {
            "savepoint": "with a savepoint",
            "last-state": "after a checkpoint, by a cancel",
            "stateless": "with a savepoint, of which only the positions are kept",
            "cancel": "by a cancel",
        }[self.mode]
        return f"stop Flink job {self.flink_job_id[:8]} {how}"


class Start(_Stage):
    """Submit the prepared release. Absent when the job is suspended, or the release only recorded."""

    stage: Literal["start"] = "start"
    source: Literal["nothing", "stopped", "checkpoint", "offsets", "group"]

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return {
            "nothing": "start without state",
            "stopped": "start from the state of the stopped job",
            "checkpoint": "start from the newest checkpoint of the lost job",
            "offsets": "start without state, from where the old job stopped",
            "group": "start without state, from its consumer group's offsets: the old job's state can't be read",
        }[self.source]


class Verify(_Stage):
    """Wait for the gates: restored as intended, all tasks, first checkpoint, consumer lag, watermark."""

    stage: Literal["verify"] = "verify"

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return "verify: restored as intended, tasks, first checkpoint, consumer lag, watermark; otherwise go back"


class Settle(_Stage):
    """Mark the release healthy, and delete savepoints that are no longer needed."""

    stage: Literal["settle"] = "settle"

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return "mark the release healthy; delete old savepoints"


Stage = CreateTopics | AddRelease | Prepare | Stop | Start | Verify | Settle
