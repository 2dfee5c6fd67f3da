"""The load times of pages per device category.

Page views with a load time, in tumbling windows of `window`: the mean and the 95th percentile (interpolated between
the two nearest values), in milliseconds.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from flink_jobs.shared.device import device_category
from flink_jobs.shared.events import EVENTS
from flink_jobs.shared.windows import OPEN_WINDOWS
from sluice import Duration, Job, JobConfig, Kafka, Record, Replay, interval


class Config(JobConfig):
    """The length of the windows."""

    window: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1)), OPEN_WINDOWS] = timedelta(
        minutes=5
    )


class PerformanceMetrics(Record):
    """The load times of one device category in one window, in milliseconds."""

    window_start: datetime
    window_end: datetime
    device_category: str
    avg_load_time: float
    p95_load_time: float


job = Job(
    name="performance_metrics",
    config=Config,
    reads={"events": EVENTS},
    writes=Kafka(
        "performance_metrics", record=PerformanceMetrics, key=("window_start", "device_category"), partitions=3
    ),
    replay=Replay(span=lambda config: config.window),
    tags=("web-analytics",),
)


@job.pipeline
def build(t_env, config):
    """Mean and percentile per window and category."""
    t_env.create_temporary_view(
        "loads",
        t_env.sql_query(f"""
        SELECT event_time, COALESCE(metrics.load_time, 0) AS load_time,
               {device_category("device.user_agent")} AS device_category
        FROM events WHERE event.type = 'page_view' AND metrics.load_time IS NOT NULL
    """),
    )
    return t_env.sql_query(f"""
        SELECT window_start, window_end, device_category,
               AVG(load_time) AS avg_load_time, COALESCE(PERCENTILE(load_time, 0.95), 0) AS p95_load_time
        FROM TABLE(TUMBLE(TABLE loads, DESCRIPTOR(event_time), {interval(config.window)}))
        GROUP BY window_start, window_end, device_category
    """)
