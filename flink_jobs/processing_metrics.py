"""The progress of event time: the newest watermark and the number of events per type of event.

Windows of `metrics_window_minutes` in event time. A record's watermark is its arrival time minus the topic's
`watermark_delay` and `arrival_skew`.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from flink_jobs.shared.events import EVENTS
from flink_jobs.shared.windows import OPEN_WINDOWS
from sluice import Job, JobConfig, Kafka, Record, Replay, interval


class Config(JobConfig):
    """The length of the windows."""

    metrics_window_minutes: Annotated[int, Field(ge=1, le=1440), OPEN_WINDOWS] = 5


class ProcessingMetrics(Record):
    """The events of one type in one window."""

    window_start: datetime
    window_end: datetime
    event_type: str
    max_watermark: datetime
    event_count: int


job = Job(
    name="processing_metrics",
    config=Config,
    reads={"events": EVENTS},
    writes=Kafka("processing_metrics", record=ProcessingMetrics, key=("window_start", "event_type"), partitions=3),
    replay=Replay(span=lambda config: timedelta(minutes=config.metrics_window_minutes)),
    tags=("web-analytics",),
)


@job.pipeline
def build(t_env, config):
    """Newest watermark and count per window and type."""
    return t_env.sql_query(f"""
        SELECT window_start, window_end, event.type AS event_type,
               MAX(`watermark`) AS max_watermark, COUNT(*) AS event_count
        FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time),
                          {interval(timedelta(minutes=config.metrics_window_minutes))}))
        GROUP BY window_start, window_end, event.type
    """)
