"""The number of events and of users per type of event.

Tumbling windows of `window` in event time; a row per window and type of event.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from flink_jobs.shared.events import EVENTS
from flink_jobs.shared.windows import OPEN_WINDOWS
from sluice import Duration, Job, JobConfig, Kafka, Record, Replay, interval, literal


class Config(JobConfig):
    """The counted types of events, and the length of the windows."""

    window: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1)), OPEN_WINDOWS] = timedelta(
        seconds=60
    )
    event_types: Annotated[tuple[str, ...], Field(min_length=1)] = ("page_view", "click", "conversion", "add_to_cart")


class EventMetrics(Record):
    """The events of one type in one window."""

    window_start: datetime
    window_end: datetime
    event_type: str
    event_count: int
    user_count: int
    """Distinct users."""


job = Job(
    name="event_metrics",
    config=Config,
    reads={"events": EVENTS},
    writes=Kafka("event_metrics", record=EventMetrics, key=("window_start", "event_type"), partitions=3),
    replay=Replay(span=lambda config: config.window),
    tags=("web-analytics",),
)


@job.pipeline
def build(t_env, config):
    """Count per window and type."""
    types = ", ".join(map(literal, config.event_types))
    return t_env.sql_query(f"""
        SELECT window_start, window_end, event.type AS event_type,
               COUNT(*) AS event_count, COUNT(DISTINCT `user`.id) AS user_count
        FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), {interval(config.window)}))
        WHERE event.type IN ({types})
        GROUP BY window_start, window_end, event.type
    """)
