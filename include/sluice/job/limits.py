"""Limits: when a job counts as healthy, and how far it may be replayed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sluice.job.duration import Duration

_Positive = Annotated[Duration, Field(gt=timedelta(0))]
_Share = Annotated[float, Field(ge=0, le=1)]


class Health(BaseModel):
    """The limits inside which a job is healthy. Gate, sweep, alert and page use the same numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    consumer_lag: Annotated[int, Field(ge=0)] = 10_000
    """Records between the broker's end offsets and the job's positions, summed over partitions."""
    watermark_lag: _Positive = timedelta(minutes=2)
    """Wall clock minus the smallest watermark."""
    checkpoint_age: _Positive = timedelta(minutes=2)
    """Time since the last completed checkpoint."""
    stall: _Positive = timedelta(minutes=2)
    """How long a partition with records to read may stand still. More where those who write it keep transactions open
    for longer: nobody reads past an open one."""
    restarts: Annotated[int, Field(ge=0)] = 2
    """How often its tasks may start again within ten minutes. More where TaskManagers come and go."""
    malformed: _Share = 0.01
    """How much of what a read brings may be malformed, 0 to 1. More than half, or than this if that is more: failed."""
    late: _Share = 0.01
    """How much of what a read or a window is given may be left out for its event time, 0 to 1; as `malformed`."""
    start_timeout: _Positive = timedelta(minutes=5)
    """How long a fresh release may take until all of this holds."""


Reckoned = timedelta | Callable[[Any], timedelta]
"""A duration, or what gives it for the job's settings: `lambda config: config.window`."""


class Replay(BaseModel):
    """How history may be replayed through a job, and what a row of its output covers.

    A replay of a range of event time emits the rows whose beginning and end both lie in it: what the range's edges cut
    is left out. For that every sink's record needs two fields with moments.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    max_range: _Positive = timedelta(days=7)
    """The longest range of event time that one replay may cover."""
    begins: str = "window_start"
    """The field of a row that says when what it covers begins."""
    ends: str = "window_end"
    """The field that says when it ends; the same one where a row stands for a moment."""
    span: Reckoned | None = None
    """The most that a row covers, e.g. the window's length. None: nobody knows (sessions): each chunk of a replay then
    reads on to the end of the whole range."""
    reach: Reckoned = timedelta(0)
    """How far before its beginning and after its end an event can still change a row, e.g. the gap of a session."""
    parallelism: Annotated[int, Field(ge=1)] = 1
    """Subtasks of each chunk: apart from the live job's."""
    slots: Annotated[int, Field(ge=1)] = 4
    """Task slots that all chunks of a replay may take together."""

    def span_for(self, config: Any) -> timedelta | None:
        """`span` under these settings."""
        return None if self.span is None else _reckon(self.span, config)

    def reach_for(self, config: Any) -> timedelta:
        """`reach` under these settings."""
        return _reckon(self.reach, config)


def _reckon(value: Reckoned, config: Any) -> timedelta:
    return value if isinstance(value, timedelta) else value(config)
