"""The stages of an operation, in the order in which they are done. Each is a value named by its intent.

`sluice.operation` does them and `sluice.plan.explain` tells them: both go through the one list that the plan holds.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from sluice.ledger.tables import StopMode


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CreateTopics(_Stage):
    """Bring the broker's topics to what the job declares. Absent when nothing is to be done to them."""

    stage: Literal["create_topics"] = "create_topics"
    topics: tuple[str, ...]

    @property
    def words(self) -> str:
        """For a person."""
        return f"topics: {'; '.join(self.topics)}"


class AddRelease(_Stage):
    """Number the release and enter it in the ledger. Absent when the target is an existing release."""

    stage: Literal["add_release"] = "add_release"

    @property
    def words(self) -> str:
        """For a person."""
        return "enter the release in the ledger"


class Prepare(_Stage):
    """Compile the release and have its client wait, connected. Whatever runs goes on running."""

    stage: Literal["prepare"] = "prepare"

    @property
    def words(self) -> str:
        """For a person."""
        return "compile the release; its client waits"


class Stop(_Stage):
    """Stop the running job. Absent when nothing runs."""

    stage: Literal["stop"] = "stop"
    flink_job_id: str
    mode: StopMode
    suspend: bool = False

    @property
    def words(self) -> str:
        """For a person."""
        how = {
            "savepoint": "with a savepoint",
            "last-state": "after a checkpoint, by a cancel",
            "stateless": "with a savepoint, of which the positions alone go on",
            "cancel": "by a cancel",
        }[self.mode]
        return f"stop Flink job {self.flink_job_id[:8]} {how}"


class Start(_Stage):
    """Submit the prepared release. Absent when the job is to be down, or is only recorded."""

    stage: Literal["start"] = "start"
    source: Literal["nothing", "stopped", "checkpoint", "offsets", "group"]

    @property
    def words(self) -> str:
        """For a person."""
        return {
            "nothing": "start without state",
            "stopped": "start from the state of the stopped job",
            "checkpoint": "start from the newest checkpoint that the lost job has left",
            "offsets": "start without state, from where the old job stopped",
            "group": "start without state, from where its consumer group stands: what the old job left can't be read",
        }[self.source]


class Verify(_Stage):
    """Hold the job against its gates: restored as intended, all tasks, first checkpoint, consumer lag, watermark."""

    stage: Literal["verify"] = "verify"

    @property
    def words(self) -> str:
        """For a person."""
        return "verify: restored as intended, tasks, first checkpoint, consumer lag, watermark; otherwise go back"


class Settle(_Stage):
    """Mark the release healthy, and delete savepoints that nobody needs any more."""

    stage: Literal["settle"] = "settle"

    @property
    def words(self) -> str:
        """For a person."""
        return "mark the release healthy; thin old savepoints"


Stage = CreateTopics | AddRelease | Prepare | Stop | Start | Verify | Settle
