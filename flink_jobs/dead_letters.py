"""The malformed records of `analytics_events`, unchanged, and the numbers of malformed and late ones.

Every job that reads the topic with the same settings skips the same records: those that break the contract or have an
absurd event time (malformed), and those that arrive more than `watermark_delay` after their event time (late). This job
writes each malformed record to `analytics_events_dead_letters`: its bytes unchanged, its position and the reason in
headers. Late records are well-formed and are not copied; `analytics_events_quality` counts both, per window of `window`
by arrival time.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from flink_jobs.shared.events import EVENTS
from flink_jobs.shared.windows import OPEN_WINDOWS
from sluice import DeadLetter, Duration, Job, JobConfig, Kafka, Record, interval


class Config(JobConfig):
    """The length of the windows."""

    window: Annotated[Duration, Field(ge=timedelta(seconds=1), le=timedelta(days=1)), OPEN_WINDOWS] = timedelta(
        seconds=60
    )


class Quality(Record):
    """The records that arrived in one window."""

    window_start: datetime
    window_end: datetime
    records: int
    malformed: int
    late: int


job = Job(
    name="dead_letters",
    config=Config,
    reads={"events": EVENTS.with_malformed()},
    writes={
        # Records that are too long for the source's contract must fit, too.
        "dead_letters": Kafka(
            "analytics_events_dead_letters",
            record=DeadLetter,
            partitions=3,
            settings={"max.message.bytes": "16777216", "retention.ms": "2592000000"},
        ),
        "quality": Kafka("analytics_events_quality", record=Quality, key=("window_start",)),
    },
    tags=("web-analytics", "dead-letters"),
)


@job.pipeline
def build(t_env, config):
    """Select the malformed records, and count all."""
    dead_letters = t_env.sql_query("""
        SELECT `key`, `value`, COALESCE(reason, '') AS reason, topic, `partition`, `offset`, arrival_time
        FROM events WHERE reason IS NOT NULL
    """)
    quality = t_env.sql_query(f"""
        SELECT window_start, window_end, COUNT(*) AS records, COUNT(reason) AS malformed,
               COUNT(*) FILTER (WHERE late) AS late
        FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(arrival_time), {interval(config.window)}))
        GROUP BY window_start, window_end
    """)
    return {"dead_letters": dead_letters, "quality": quality}
