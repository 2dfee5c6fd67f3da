"""A job's file, to be written into a project: events by type in short windows, right or wrong, fast or slow."""

SOURCE = '''"""How often each type of event happens."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated

from pydantic import Field

from flink_jobs.shared.events import EVENTS
from sluice import Duration, Job, JobConfig, Kafka, Record, Replay, interval


class Config(JobConfig):
    """Over how long, and how slowly."""

    window: Duration = timedelta(seconds=5)
    pause_ms: Annotated[int, Field(ge=0)] = 0
    """Slept over each event."""


class Counted(Record):
    """The events of one type in one window."""

    window_start: datetime
    window_end: datetime
    event_type: str
    event_count: int


job = Job(
    name="counted",
    config=Config,
    reads={"events": EVENTS},
    writes=Kafka("counted", record=Counted, key=("window_start", "event_type"), partitions=3),
    replay=Replay(span=lambda config: config.window),
)


@job.pipeline
def build(t_env, config):
    """Count per window and type."""
    t_env.create_temporary_view("typed", t_env.sql_query(
        "SELECT event_time, COALESCE(event.type, '') AS event_type FROM events"
    ))
    if config.pause_ms:
        import time
        from pyflink.table import DataTypes
        from pyflink.table.udf import udf

        pause = config.pause_ms / 1000

        def wait(text):
            time.sleep(pause)
            return text

        t_env.create_temporary_function("wait", udf(wait, result_type=DataTypes.STRING()))
    kind = "COALESCE(wait(event_type), '')" if config.pause_ms else "event_type"
    t_env.create_temporary_view("waited", t_env.sql_query(f"SELECT event_time, {kind} AS event_type FROM typed"))
    return t_env.sql_query(f"""
        SELECT window_start, window_end, event_type, COUNT(*) AS event_count
        FROM TABLE(TUMBLE(TABLE waited, DESCRIPTOR(event_time), {interval(config.window)}))
        GROUP BY window_start, window_end, event_type
    """)
'''
WRONG = SOURCE.replace("COUNT(*) AS event_count", "COUNT(*) + 1 AS event_count")
FAILING = SOURCE.replace('else "event_type"', 'else "CAST(CAST(event_type AS INT) AS STRING)"')
"""Compiles, and fails at its first event."""
