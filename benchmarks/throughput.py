"""Events per second of each job, against the same query on plain Flink SQL with the JSON format, on 2,000,000 events.

Both read the same topic to its end on the same cluster, in turn. The dead-letter job has no plain counterpart: its
baseline is the rate of event_metrics.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time

from confluent_kafka.admin import AdminClient, NewTopic

from benchmarks.report import Measure, against, report
from benchmarks.stack import measuring_stack
from sluice.local.layout import Local
from sluice.local.stack import Stack
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Shares, Traffic
from tests.support.stacks import ROOT

EVENTS = int(os.environ.get("SLUICE_BENCH_EVENTS", "2000000"))
RUNS = int(os.environ.get("SLUICE_BENCH_RUNS", "3"))
JOBS = ("event_metrics", "session_metrics", "performance_metrics", "processing_metrics")


def main() -> None:
    """Measure, print and write the results."""
    with measuring_stack() as (stack, _):
        local = stack.local
        with stack.step(f"produce {EVENTS:,} events"):
            fill(local)
        report("throughput", measure(local, stack))


def fill(local: Local) -> None:
    """Create the topics and write the events."""
    admin = AdminClient({"bootstrap.servers": local.kafka_servers})
    wanted = [NewTopic("analytics_events", 4, 1), NewTopic("bench_out", 1, 1, config={"max.message.bytes": "16777216"})]
    for future in admin.create_topics(wanted).values():
        future.result()
    start = (int(time.time()) - 86_400) * 1000
    # No malformed events: an absurd timestamp would move the plain query's watermark years ahead, so that it drops all.
    shares = Shares(late=0.01, malformed=0)
    messages = Traffic(seed=1, rate=EVENTS / 36_000, start_ms=start, partitions=4, shares=shares).bounded(EVENTS)
    wire.produce(local.kafka_servers, "analytics_events", messages)


def measure(local: Local, stack: Stack) -> list[Measure]:
    """The rates of each job."""
    measures = []
    for job in JOBS:
        ours, plain = [], []
        for turn in range(RUNS):
            # Each comes first as often as second, since the cluster warms up.
            order = ("ours", "plain") if turn % 2 else ("plain", "ours")
            for kind in order:
                with stack.step(f"{job}, {kind}"):
                    (ours if kind == "ours" else plain).append(EVENTS / seconds(local, kind, job))
        measures.append(against(job, ours, "events/s", "plain SQL, JSON format", plain))
    with stack.step("dead_letters"):
        rates = [EVENTS / seconds(local, "ours", "dead_letters") for _ in range(RUNS)]
    first = measures[0]
    rate = statistics.median(rates)
    return [
        *measures,
        Measure(
            "dead_letters", round(rate), "events/s", "event_metrics", first.value, round(rate / first.value, 3), RUNS
        ),
    ]


def seconds(local: Local, kind: str, job: str) -> float:
    """One run, in a process of its own."""
    variables = {**os.environ, "FLINK_LIB_DIR": str(local.home / "flink" / "lib")}
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.bounded_run", kind, job]
    command += [local.kafka_servers, local.flink_url, str(ROOT)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, env=variables)
    if done.returncode:
        raise SystemExit(f"{job}, {kind}: {done.stderr[-2000:]}")
    return float(done.stdout.split()[-1])


if __name__ == "__main__":
    main()
