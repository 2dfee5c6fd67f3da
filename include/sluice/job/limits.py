"""Limits: when a job counts as healthy, and how far it may be replayed."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from sluice.job.duration import Duration

_Positive = Annotated[Duration, Field(gt=timedelta(0))]


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
    start_timeout: _Positive = timedelta(minutes=5)
    """How long a fresh release may take until all of this holds."""


class Replay(BaseModel):
    """How history may be replayed through a job."""

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    max_range: _Positive = timedelta(days=7)
    """The longest range of event time that one replay may cover."""
