"""A job's limits: when it is healthy, and how its history may be replayed."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from sluice.job.duration import Duration

_Positive = Annotated[Duration, Field(gt=timedelta(0))]
_Share = Annotated[float, Field(ge=0, le=1)]


class Health(BaseModel):
    """The limits within which a job is healthy. Gates, the sweep, alerts and the fleet page all use these numbers."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    consumer_lag: Annotated[int, Field(ge=0)] = 10_000
    """Records between the broker's end offsets and the job's offsets, summed over partitions."""
    watermark_lag: _Positive = timedelta(minutes=2)
    """Wall clock minus the smallest watermark."""
    checkpoint_age: _Positive = timedelta(minutes=2)
    """Time since the last completed checkpoint."""
    stall: _Positive = timedelta(minutes=2)
    """How long a partition with unread records may make no progress. Set it above the longest transaction of the
    topic's producers: no consumer reads past an open transaction."""
    restarts: Annotated[int, Field(ge=0)] = 2
    """How often the job may restart within ten minutes. Raise it if TaskManagers are replaced often."""
    malformed: _Share = 0.01
    """Share of a read's records that may be malformed, 0 to 1. Above it the job is degraded; above it and above half,
    failed."""
    late: _Share = 0.01
    """Share of the records of a read, or of a window's input, that may be dropped for their event time, 0 to 1; as
    `malformed`."""
    start_timeout: _Positive = timedelta(minutes=5)
    """Time within which a new release must be within all these limits."""


DurationSetting = timedelta | Callable[[Any], timedelta]
"""A duration, or a function that computes it from the job's settings: `lambda config: config.window`."""


class Replay(BaseModel):
    """How a job's history may be replayed, and which event time an output row covers.

    A replay of a range of event time emits the rows that begin and end in the range; rows that cross an edge are left
    out. For that, every sink's record needs datetime fields for begin and end.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    max_range: _Positive = timedelta(days=7)
    """The longest range of event time that one replay may cover."""
    begins: str = "window_start"
    """The field with the begin of the event time that a row covers."""
    ends: str = "window_end"
    """The field with its end; the same field as `begins` if a row covers a single moment."""
    span: DurationSetting | None = None
    """The longest event time that a row covers, e.g. the window's length. None: unbounded (sessions), so that each
    chunk of a replay reads up to the end of the whole range."""
    reach: DurationSetting = timedelta(0)
    """How far before a row's begin and after its end an event can change it, e.g. the gap of a session."""
    parallelism: Annotated[int, Field(ge=1)] = 1
    """Parallelism of each chunk, independent of the live job's."""
    slots: Annotated[int, Field(ge=1)] = 4
    """Task slots that the chunks of a replay may use at the same time."""

    def span_for(self, config: Any) -> timedelta | None:
        """`span` with these settings of the job."""
        return None if self.span is None else _evaluate(self.span, config)

    def reach_for(self, config: Any) -> timedelta:
        """`reach` with these settings of the job."""
        return _evaluate(self.reach, config)


def _evaluate(value: DurationSetting, config: Any) -> timedelta:
    return value if isinstance(value, timedelta) else value(config)
