"""A table against its record, on Flink's own planner; nothing runs."""

import warnings
from datetime import datetime

import pytest

from sluice import Kafka, Record
from sluice.errors import SchemaError
from sluice.testing import _pyflink_environment

# PyFlink and Beam use what they have themselves deprecated.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

TABLE = """
    CREATE TEMPORARY TABLE lines (
      id STRING NOT NULL, given TIMESTAMP(3) NOT NULL, ts TIMESTAMP_LTZ(3) NOT NULL, WATERMARK FOR ts AS ts
    ) WITH ('connector' = 'datagen')
"""
WINDOW = "TABLE(TUMBLE(TABLE lines, DESCRIPTOR(ts), INTERVAL '1' MINUTE))"


class Moment(Record):
    m: datetime


class Maybe(Record):
    m: datetime | None


@pytest.fixture(scope="module")
def t_env():
    with _pyflink_environment():
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)
            from sluice.client.pipeline import local_environments

            _, t_env = local_environments("schema")
            t_env.execute_sql(TABLE)
        yield t_env


def fits(table, record, t_env):
    from sluice.client.pipeline import fit

    t_env.drop_temporary_view("out__built")
    fitted, _ = fit(table, Kafka("out", record=record), t_env, "job.out")
    return "TIMESTAMP_LTZ(3)" in fitted._j_table.getResolvedSchema().toString()


@pytest.mark.parametrize(
    ("query", "record"),
    [
        (f"SELECT window_start AS m FROM {WINDOW}", Moment),
        (f"SELECT m FROM (SELECT window_end AS m, id FROM {WINDOW} WHERE id <> '') GROUP BY m, id", Moment),
        (f"SELECT window_end - INTERVAL '1' MINUTE AS m FROM {WINDOW} GROUP BY window_start, window_end", Moment),
        (f"SELECT MAX(window_start) AS m FROM {WINDOW} GROUP BY id", Moment),
        ("SELECT TUMBLE_START(ts, INTERVAL '1' HOUR) AS m FROM lines GROUP BY TUMBLE(ts, INTERVAL '1' HOUR)", Moment),
        (f"SELECT w.window_start AS m FROM lines LEFT JOIN (SELECT * FROM {WINDOW}) AS w ON lines.id = w.id", Maybe),
        (f"SELECT window_start AS m FROM {WINDOW} UNION ALL SELECT window_end FROM {WINDOW}", Moment),
    ],
)  # fmt: skip
def test_window_bounds_match_instant_fields(t_env, query, record):
    assert fits(t_env.sql_query(query), record, t_env)


def test_window_bounds_of_the_table_api_are_not_nullable(t_env):
    from pyflink.table.expressions import col, lit
    from pyflink.table.window import Tumble

    grouped = t_env.from_path("lines").window(Tumble.over(lit(1).minutes).on(col("ts")).alias("w")).group_by(col("w"))
    for bound in (col("w").start, col("w").end, col("w").end - lit(1).seconds):
        assert fits(grouped.select(bound.alias("m")), Moment, t_env)
        with pytest.raises(SchemaError, match="column m: Maybe declares"):
            fits(grouped.select(bound.alias("m")), Maybe, t_env)
    with pytest.raises(SchemaError, match="column m: Moment declares"):
        fits(grouped.select(col("given").max.alias("m")), Moment, t_env)


@pytest.mark.parametrize(
    ("query", "record"),
    [
        ("SELECT given AS m FROM lines", Moment),
        ("SELECT NULLIF(given, given) AS m FROM lines", Moment),
        ("SELECT NULLIF(given, given) AS m FROM lines", Maybe),
        ("SELECT TO_TIMESTAMP(id) AS m FROM lines", Maybe),
        (f"SELECT MAX(given) AS m FROM {WINDOW} GROUP BY window_start, window_end", Moment),
        (
            f"SELECT w.window_start AS m FROM lines LEFT JOIN (SELECT * FROM {WINDOW}) AS w ON lines.id = w.id",
            Moment,
        ),
        (f"SELECT window_start AS m FROM {WINDOW}", Maybe),
        (f"SELECT window_start AS m FROM {WINDOW} UNION ALL SELECT given FROM lines", Moment),
        (f"SELECT CASE WHEN id = '' THEN given ELSE window_start END AS m FROM {WINDOW}", Moment),
    ],
)
def test_other_timestamps_without_a_zone_do_not_match_instant_fields(t_env, query, record):
    with pytest.raises(SchemaError, match=r"column m: (Moment|Maybe) declares TIMESTAMP_LTZ\(3\)"):
        fits(t_env.sql_query(query), record, t_env)
