"""Sessions: the duration and the number of page views of each visit.

Page views of one session and user that are at most `gap` apart are one row, written once the watermark has passed the
gap. The duration is the time from the first to the last page view; a session of one page view lasts 0 ms.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from flink_jobs.shared.device import device_category
from flink_jobs.shared.events import EVENTS
from flink_jobs.shared.windows import OPEN_WINDOWS
from sluice import Duration, Health, Job, JobConfig, Kafka, Record, Replay, interval


class Config(JobConfig):
    """The gap that ends a session."""

    gap: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1)), OPEN_WINDOWS] = timedelta(minutes=30)


class SessionMetrics(Record):
    """One session."""

    session_id: str
    user_id: str
    start_time: datetime
    end_time: datetime
    duration: int
    """Milliseconds from the first to the last page view."""
    page_count: int
    device_category: str


job = Job(
    name="session_metrics",
    config=Config,
    reads={"events": EVENTS},
    writes=Kafka("session_metrics", record=SessionMetrics, key=("session_id", "user_id", "start_time"), partitions=3),
    health=Health(),
    replay=Replay(begins="start_time", ends="end_time", reach=lambda config: config.gap),
    tags=("web-analytics",),
)


@job.pipeline
def build(t_env, config):
    """Aggregate the page views of each session."""
    t_env.create_temporary_view(
        "page_views",
        t_env.sql_query("""
        SELECT context.session_id AS session_id, `user`.id AS user_id, `timestamp` AS at_ms, event_time,
               device.user_agent AS user_agent
        FROM events WHERE event.type = 'page_view'
    """),
    )
    return t_env.sql_query(f"""
        SELECT session_id, user_id,
               window_start AS start_time, window_end - {interval(config.gap)} AS end_time,
               MAX(at_ms) - MIN(at_ms) AS duration, COUNT(*) AS page_count,
               {device_category("MAX(user_agent)")} AS device_category
        FROM TABLE(SESSION(TABLE page_views PARTITION BY (session_id, user_id), DESCRIPTOR(event_time),
                           {interval(config.gap)}))
        GROUP BY session_id, user_id, window_start, window_end
    """)
