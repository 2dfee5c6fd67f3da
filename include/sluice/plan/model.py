"""The plan: a frozen value that says what will happen, shown and done alike."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from sluice.plan.stages import Stage
from sluice.state.change import StateChange

Category = Literal["none", "metadata", "stateless", "state_compatible", "state_breaking"]
CATEGORIES: tuple[Category, ...] = ("none", "metadata", "stateless", "state_compatible", "state_breaking")
"""By severity.

none: nothing differs.
metadata: it is recorded, nothing restarts: the job compiles to the same graph.
stateless: the job restarts; it has no state but its reading positions.
state_compatible: the job restarts with all its state.
state_breaking: state is abandoned, or goes on under another meaning.
"""
Mode = Literal["savepoint", "last-state", "stateless"]
"""How the old job hands over.

savepoint: it stops with a savepoint.
last-state: a checkpoint (the newest retained one where no new one can be made), then a cancel.
stateless: it stops with a savepoint, of which the new job takes the reading positions alone.
"""
Kind = Literal["deploy", "rollback", "suspend", "resume"]
Action = Literal["none", "record", "start", "recover", "redeploy", "suspend"]
"""What happens to the job.

none: it runs as it should.
record: a new release without a restart.
start: it was never started, or is to run again.
recover: it should run and doesn't.
redeploy: it runs, and is replaced.
suspend: it is stopped.
"""


NEWEST_FAILURE = "its newest failure: "
"""How the reason begins that quotes a job's newest failure, whose words differ from one restart to the next."""


class _Value(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Change(_Value):
    """One thing that differs from what runs."""

    path: str
    """E.g. `config.window`, `parallelism`, `code.flink_jobs/event_metrics.py`."""
    old: Any
    new: Any
    category: Category
    """The least that a change of this kind can mean."""
    why: str


class TopicAction(_Value):
    """What a topic needs."""

    topic: str
    action: Literal["create", "keep", "grow", "set", "differs"]
    words: str


class Plan(_Value):
    """What will happen to a job, before it happens."""

    job: str
    kind: Kind = "deploy"
    action: Action
    category: Category
    reasons: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    """What is unsafe, whatever the plan does: logins that are sent unencrypted."""
    mode: Mode | None = None
    """None: nothing is handed over."""
    release: int | None = None
    """The target, when it exists already."""
    former_release: int | None = None
    fingerprint: str
    """Of the target: another one at the time of doing means that the plan is stale."""
    changes: tuple[Change, ...] = ()
    topics: tuple[TopicAction, ...] = ()
    state: StateChange = StateChange()
    overrides: dict[str, Any] = Field(default_factory=dict)
    needs_approval: bool = False
    """It loses state, or `no_way_back` says something."""
    no_way_back: str | None = None
    """Why the release that runs could not be run again, should the new one fail; None: it could, or none is left."""
    expected_downtime_ms: int | None = None
    """Median of the job's own switch-overs in this mode; None: there was none, or the job doesn't stop."""
    stages: tuple[Annotated[Stage, Field(discriminator="stage")], ...] = ()

    @property
    def loses_state(self) -> bool:
        """An approval is needed for that."""
        return self.needs_approval and self.category == "state_breaking" and not self.state.altered

    @property
    def alters_state(self) -> bool:
        """An approval is needed since state goes on under another meaning."""
        return self.needs_approval and self.category == "state_breaking" and bool(self.state.altered)

    @property
    def gives_up(self) -> bool:
        """What the job has left can't be read, and isn't waited for."""
        return any(stage.stage == "start" and stage.source == "group" for stage in self.stages)

    @property
    def why_approval(self) -> str:
        """Why it needs one, for the person who is asked."""
        return "; ".join(self.reasons) or "it abandons its state"

    @property
    def dangers(self) -> tuple[str, ...]:
        """What an approval is asked for, in a few words each."""
        return (
            *(("it loses state",) if self.loses_state else ()),
            *(("its state goes on under another meaning",) if self.alters_state else ()),
            *(("there is no way back",) if self.no_way_back else ()),
        )
