"""The cost of a device category per event: SQL patterns evaluated by Flink, against a Python UDF around ua-parser.

One bounded query on Flink in this process runs in three variants in turn: without a category, with patterns, with the
UDF. The time of the first is subtracted from those of the others.
"""

from __future__ import annotations

import os
import random
import statistics
import tempfile
import time
from functools import lru_cache
from pathlib import Path
from typing import Any

from benchmarks.report import Measure, report
from flink_jobs.shared.device import device_category
from sluice.local.traffic.user_agents import weighted

EVENTS = int(os.environ.get("SLUICE_BENCH_EVENTS", "100000"))
RUNS = int(os.environ.get("SLUICE_BENCH_RUNS", "5"))


@lru_cache(maxsize=10_000)
def parsed_category(user_agent: str | None) -> str:
    """The category by ua-parser's device and user-agent families, with the cache that its documentation advises."""
    from ua_parser import parse

    found = parse(user_agent or "")
    family = (found.device.family if found.device else "") or ""
    if family == "Spider":
        return "Bot"
    if family in ("iPad", "Kindle") or "Tablet" in family:
        return "Tablet"
    system = (found.os.family if found.os else "") or ""
    if system in ("iOS", "Android"):
        return "Mobile"
    return "Desktop" if system else "Unknown"


def main() -> None:
    """Measure, print and write the results."""
    with tempfile.TemporaryDirectory() as directory:
        file = Path(directory) / "user_agents.txt"
        agents, weights = weighted()
        chosen = random.Random(1).choices(agents, cum_weights=weights, k=EVENTS)
        file.write_text("".join(f"{agent or ''}\n" for agent in chosen), encoding="utf-8")
        t_env = environment()
        t_env.execute_sql(
            "CREATE TEMPORARY TABLE agents (user_agent STRING) WITH ('connector' = 'filesystem', "
            f"'path' = '{file.as_uri()}', 'format' = 'raw')"
        )
        t_env.execute_sql("CREATE TEMPORARY TABLE nowhere (category STRING) WITH ('connector' = 'blackhole')")
        ways = {
            "none": "user_agent",
            "patterns": device_category("user_agent"),
            "udf": "parsed_category(user_agent)",
        }
        taken: dict[str, list[float]] = {way: [] for way in ways}
        for expression in ways.values():
            seconds(t_env, expression)  # the first of each loads and compiles
        for turn in range(RUNS):
            for way in sorted(ways, reverse=bool(turn % 2)):
                taken[way].append(seconds(t_env, ways[way]))
    cost = {way: [(t - n) / EVENTS * 1e6 for t, n in zip(taken[way], taken["none"], strict=True)] for way in ways}
    ours, theirs = statistics.median(cost["patterns"]), statistics.median(cost["udf"])
    ratio = statistics.median(a / b for a, b in zip(cost["patterns"], cost["udf"], strict=True))
    report(
        "device_category",
        [
            Measure(
                "SQL patterns",
                round(ours, 2),
                "us/event",
                "Python UDF, ua-parser",
                round(theirs, 2),
                round(ratio, 3),
                RUNS,
            )
        ],
    )


def environment() -> Any:
    """A table environment in this process with the UDF, whose Python worker is a separate process, as on a cluster."""
    os.environ["_python_worker_execution_mode"] = "process"
    from pyflink.table import DataTypes
    from pyflink.table.udf import udf

    from sluice.client.pipeline import local_environments

    _, t_env = local_environments("device_category")
    t_env.create_temporary_function("parsed_category", udf(parsed_category, result_type=DataTypes.STRING()))
    return t_env


def seconds(t_env: Any, expression: str) -> float:
    """The seconds of the query over all events."""
    begun = time.monotonic()
    # A sink that discards all rows: the updates of an aggregate would cost more than the category.
    t_env.execute_sql(f"INSERT INTO nowhere SELECT {expression} FROM agents").wait()
    return time.monotonic() - begun


if __name__ == "__main__":
    # Under the module's real name, by which the Python worker imports the UDF.
    from benchmarks import device_category as benchmark  # noqa: PLW0406

    benchmark.main()
