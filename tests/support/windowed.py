"""A job whose windows of an hour hold state, as a user would write it, and what is done to it."""

import json
import time
from functools import cache

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Message
from sluice.operation.topics import create_topics
from tests.support.running import deploy
from tests.support.waiting import wait_for

HOUR = 3_600_000
JOB = """
from datetime import datetime
from typing import Annotated
from pydantic import Field
from sluice import ChangesState, Health, Job, JobConfig, Kafka, Record, interval

class Config(JobConfig):
    hours: Annotated[int, Field(ge=1, le=24), ChangesState("open windows keep their old bounds")] = 1
    least: Annotated[int, Field(ge=0, le=100)] = 0

class Line(Record):
    id: str
    at: int

class Out(Record):
    window_start: datetime
    id: str
    lines: int

job = Job(
    name="{name}",
    config=Config,
    reads={{"lines": Kafka("{name}_lines", record=Line, event_time="at", idle_timeout=None, partitions={partitions})}},
    writes=Kafka("{name}_out", record=Out, key=("window_start", "id")),
    health=Health(start_timeout="{timeout}", consumer_lag={lag}),
)

@job.pipeline
def build(t_env, config):
    return t_env.sql_query(f'''
        SELECT window_start, id, {count} AS lines
        FROM TABLE(TUMBLE(TABLE {table}, DESCRIPTOR(event_time), INTERVAL '{{config.hours}}' HOUR))
        WHERE CHAR_LENGTH(id) >= {{config.least}} {where}
        GROUP BY window_start, window_end, id
    ''')
"""


def source(name, **words):
    """The job's file.

    Args:
        name: The job's name.
        words: `count` (the aggregate), `where` (more of the filter), `table` (what is read), `partitions` (of the
            topic), `timeout` and `lag` (of its health).
    """
    usual = {"count": "COUNT(*)", "where": "", "table": "lines", "partitions": 2, "timeout": "5min", "lag": 10_000}
    return JOB.format(name=name, **usual | words)


def produce(lab, name, *lines):
    messages = [
        Message(b"", json.dumps({"id": id_, "at": at}).encode(), at, number % 2)
        for number, (id_, at) in enumerate(lines)
    ]
    wire.produce(lab.local.kafka_servers, f"{name}_lines", messages)


@cache
def base():
    """The begin of yesterday's first hour; the same for a whole run of the tests, which may pass midnight."""
    return (int(time.time()) - 86_400) // 86_400 * 24 * HOUR


def alive(lab, name):
    with FlinkClient(lab.local.flink_url) as flink:
        return [job.id for job in flink.send(calls.jobs()).jobs if job.name == name and not job.state.is_terminal]


def start_with_state(lab, name, **words):
    """Start the job and let it have two lines in an open window."""
    lab.job(name, source(name, **words))
    create_topics(lab.project, name)
    produce(lab, name, ("a", base() + 1), ("a", base() + 2))
    return deploy(lab.project, name)


def close_windows(lab, name, hours=2):
    """A third line in the open window, then what closes it in both partitions; the lines counted for it."""
    produce(lab, name, ("a", base() + 3), *[("z", base() + hours * HOUR)] * 3)
    rows = wait_for(lambda: wire.rows(lab.local.kafka_servers, f"{name}_out"))
    return [row["lines"] for row in rows if row["id"] == "a"]
