"""The plan: a frozen value with what will happen. The same value is shown to people and carried out."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sluice.kafka.topic_steps import Step
from sluice.plan.stages import CreateTopics, Stage
from sluice.state.change import StateChange

Kind = Literal["deploy", "rollback", "suspend", "resume"]


class Category(StrEnum):
    """What a plan means for the job's state, by severity."""

    NONE = "none"
    """No change."""
    METADATA = "metadata"
    """The release is recorded without a restart, since the job compiles to the same graph."""
    STATELESS = "stateless"
    """The job restarts; its only state is its reading positions."""
    STATE_COMPATIBLE = "state_compatible"
    """The job restarts with all its state."""
    STATE_BREAKING = "state_breaking"
    """State is abandoned, or kept with another meaning."""


CATEGORIES = tuple(Category)
"""By severity."""


class Mode(StrEnum):
    """How the old job hands over."""

    SAVEPOINT = "savepoint"
    """It stops with a savepoint."""
    LAST_STATE = "last-state"
    """It is cancelled after a checkpoint, or with its newest retained one if no new one can be made."""
    STATELESS = "stateless"
    """It stops with a savepoint, of which the new job takes only the reading positions."""


class Action(StrEnum):
    """What happens to the job."""

    NONE = "none"
    """It runs the target already."""
    RECORD = "record"
    """A new release is recorded, without a restart."""
    START = "start"
    """It is started for the first time, or resumed."""
    RECOVER = "recover"
    """It should be running and isn't; it is started."""
    REDEPLOY = "redeploy"
    """It is running, and is replaced."""
    SUSPEND = "suspend"
    """It is stopped, with its state kept."""


NEWEST_FAILURE = "its newest failure: "
"""The start of the reason that quotes a job's newest failure, whose text differs from one restart to the next."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Change(_Value):
    """One difference from the running release."""

    path: str
    """E.g. `config.window`, `parallelism`, `code.flink_jobs/event_metrics.py`."""
    old: Any
    new: Any
    category: Category
    """The least severe category that a change of this kind can have."""
    why: str


class TopicAction(_Value):
    """What a plan does to a topic."""

    topic: str
    action: Literal["create", "keep", "grow", "set", "differs"]
    words: str


class Plan(_Value):
    """What an operation will do to a job."""

    job: str
    kind: Kind = "deploy"
    action: Action
    category: Category
    reasons: tuple[str, ...] = ()
    extra_sinks: tuple[str, ...] = ()
    """What the pipeline writes besides the declared topics; see `sluice.client.protocol.Graph`."""
    warnings: tuple[str, ...] = ()
    """Risks that don't depend on the plan: logins that are sent unencrypted, and extra sinks."""
    mode: Mode | None = None
    """None: no running job is replaced."""
    release: int | None = None
    """The number of the target; None: it isn't in the ledger yet."""
    former_release: int | None = None
    fingerprint: str
    """Of the target. If it has changed when the plan is carried out, the plan is stale."""
    artifact: str | None = None
    """SHA-256 of the target's code in the artifact store, in hexadecimal. None: an earlier version made the plan."""
    made_at: datetime | None = None
    """When the topics were compared with the broker. None: they were not."""
    changes: tuple[Change, ...] = ()
    topics: tuple[TopicAction, ...] = ()
    state: StateChange = StateChange()
    overrides: dict[str, Any] = Field(default_factory=dict)
    needs_approval: bool = False
    """The plan loses state, alters its meaning, or has `no_way_back`."""
    no_way_back: str | None = None
    """Why the running release could not be run again if the new one fails; None: it could, or there is none."""
    expected_downtime_ms: int | None = None
    """Median of the job's earlier switch-overs in this mode; None: there was none, or the job doesn't stop."""
    stages: tuple[Annotated[Stage, Field(discriminator="stage")], ...] = ()

    @property
    def keeps_topics(self) -> bool:
        """Whether the broker's topics are as the job declares them."""
        return all(topic.action == "keep" for topic in self.topics)

    @property
    def topic_steps(self) -> tuple[Step, ...]:
        """What the plan does to the broker's topics."""
        return next((stage.steps for stage in self.stages if isinstance(stage, CreateTopics)), ())

    @property
    def loses_state(self) -> bool:
        """Whether an approval is needed because state is lost."""
        return self.needs_approval and self.category == Category.STATE_BREAKING and not self.state.altered

    @property
    def alters_state(self) -> bool:
        """Whether an approval is needed because state is kept with another meaning."""
        return self.needs_approval and self.category == Category.STATE_BREAKING and bool(self.state.altered)

    @property
    def gives_up(self) -> bool:
        """Whether the job's last state can't be read, and the job starts without it."""
        return any(stage.stage == "start" and stage.source == "group" for stage in self.stages)

    @property
    def why_approval(self) -> str:
        """Why the plan needs an approval, for the person who decides."""
        return "; ".join(self.reasons) or "it abandons its state"

    @property
    def dangers(self) -> tuple[str, ...]:
        """The consequences that need an approval, in a few words each."""
        return (
            *(("it loses state",) if self.loses_state else ()),
            *(("its state is kept with another meaning",) if self.alters_state else ()),
            *(("there is no way back",) if self.no_way_back else ()),
        )
