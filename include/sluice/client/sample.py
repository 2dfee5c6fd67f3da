"""A sample job that is compiled but never run, so that the JVM loads the classes that real jobs need.

It uses each kind of pipeline: SQL with windows, the Table API, Python functions, the DataStream API.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sluice.job.definition import Job
from sluice.job.record import Record
from sluice.job.topic import Kafka


class Event(Record):
    """The record that the sample job reads."""

    key: str
    kind: str | None
    number: int
    share: float
    at: int


class Count(Record):
    """The record of its windows."""

    window_start: datetime
    window_end: datetime
    kind: str | None
    events: int
    keys: int
    highest: int
    mean: float | None


class Key(Record):
    """The record of its Python functions and streams."""

    key: str | None


def _same(value: str) -> str:
    return value


job = Job(
    name="sample",
    reads={"events": Kafka("sample", record=Event, event_time="at", watermark_delay=timedelta(seconds=1))},
    writes={
        "counts": Kafka("counts", record=Count),
        "selected": Kafka("selected", record=Key),
        "keys": Kafka("keys", record=Key),
    },
)


@job.pipeline
def build(events: Any, t_env: Any) -> dict[str, Any]:
    """A table or stream of each kind."""
    from pyflink.common import Types  # noqa: PLC0415 - a job's module must be importable without PyFlink
    from pyflink.table import DataTypes  # noqa: PLC0415
    from pyflink.table.expressions import col  # noqa: PLC0415
    from pyflink.table.udf import udf  # noqa: PLC0415

    counts = t_env.sql_query("""
        SELECT window_start, window_end, CASE WHEN kind LIKE 'a%' THEN 'a' ELSE kind END AS kind,
               COUNT(*) AS events, COUNT(DISTINCT key) AS keys, MAX(number) AS highest,
               AVG(share) FILTER (WHERE kind = 'a') AS mean
        FROM TABLE(TUMBLE(TABLE events, DESCRIPTOR(event_time), INTERVAL '10' SECOND))
        WHERE kind IN ('a', 'b', 'c', 'd')
        GROUP BY window_start, window_end, CASE WHEN kind LIKE 'a%' THEN 'a' ELSE kind END
    """)
    same = udf(_same, result_type=DataTypes.STRING())
    selected = events.filter(col("number") > 0).select(same(col("key")).alias("key"))
    stream = t_env.to_data_stream(events.select(col("key")))
    keys = stream.map(lambda row: row, output_type=Types.ROW_NAMED(["key"], [Types.STRING()]))
    return {"counts": counts, "selected": selected, "keys": keys}
