"""The stages of an operation, in the order in which they are carried out. Each is a value named by its intent.

`sluice.operation` carries them out and `sluice.plan.explain` shows them, both from the plan's list of stages.
"""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict

from sluice.kafka.topic_steps import Step
from sluice.ledger.values import StopMode


class _Stage(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class AddRelease(_Stage):
    """Number the release and enter it in the ledger. Absent when the target is an existing release."""

    stage: Literal["add_release"] = "add_release"

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return "enter the release in the ledger"


class CreateTopics(_Stage):
    """Bring the broker's topics to what the job declares. Absent when they are already so."""

    stage: Literal["create_topics"] = "create_topics"
    topics: tuple[str, ...]
    """The steps in words."""
    steps: tuple[Step, ...] = ()

    @classmethod
    def of(cls, steps: tuple[Step, ...]) -> CreateTopics:
        """The stage that takes these steps."""
        return cls(topics=tuple(step.words for step in steps), steps=steps)

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return f"topics: {'; '.join(self.topics)}"


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


class Record(_Stage):
    """Record the running Flink job as the new release, which compiles to the same graph."""

    stage: Literal["record"] = "record"

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return "record the running job as this release, without a restart"


class Verify(_Stage):
    """Wait for the gates: restored as intended, all tasks, first checkpoint, consumer lag, watermark."""

    stage: Literal["verify"] = "verify"

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return "verify: restored as intended, tasks, first checkpoint, consumer lag, watermark; otherwise go back"


class Settle(_Stage):
    """End the operation. If the job runs, mark the release healthy, and delete savepoints that are no longer needed."""

    stage: Literal["settle"] = "settle"
    suspended: bool = False

    @property
    def words(self) -> str:
        """The stage as shown to a person."""
        return "mark the job suspended" if self.suspended else "mark the release healthy; delete old savepoints"


Stage = AddRelease | CreateTopics | Prepare | Stop | Start | Record | Verify | Settle
