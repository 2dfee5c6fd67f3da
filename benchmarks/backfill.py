"""A replay of 2,000,000 events in 1, 2 and 4 parallel chunks, against one bounded `flink run` of the same query.

Both times begin with the command: ours ends with it, including the comparison with the live rows; that of `flink run`
ends with its Flink job. The live job runs beside both, without new input.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

from confluent_kafka.admin import NewTopic

from benchmarks import by_hand
from benchmarks.bounded_run import BOUNDED
from benchmarks.report import Measure, against, report
from benchmarks.stack import measuring_stack
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.kafka.brokers import connect
from sluice.local.layout import Local
from sluice.local.stack import Stack
from sluice.local.traffic import wire
from sluice.local.traffic.generator import Traffic
from sluice.operation.topics import create_topics
from sluice.project import Project
from sluice.settings import Settings
from tests.support.running import deploy
from tests.support.stacks import ROOT

EVENTS = int(os.environ.get("SLUICE_BENCH_EVENTS", "2000000"))
RUNS = int(os.environ.get("SLUICE_BENCH_RUNS", "3"))
JOB = "event_metrics"
RANGE = timedelta(hours=10)
CHUNKS = (1, 2, 4)
DEPLOYMENT = """
kafka: {{config: {{bootstrap.servers: "{servers}"}}}}
flink: {{url: "{url}"}}
"""


def main() -> None:
    """Measure both in turn, print and write the results."""
    with measuring_stack() as (stack, directory):
        local, root = stack.local, directory / "project"
        shutil.copytree(ROOT / "flink_jobs", root / "flink_jobs")
        (root / "deployments").mkdir()
        written = DEPLOYMENT.format(servers=local.kafka_servers, url=local.flink_url)
        (root / "deployments" / "local.yaml").write_text(written, encoding="utf-8")
        os.environ.update(
            local.variables
            | {
                "SLUICE_ROOT": str(root),
                "SLUICE_HOME": str(root / "home"),
                "SLUICE_FLINK_LIB": str(local.home / "flink" / "lib"),
                "SLUICE_CLIENT_CACHE": str(ROOT / ".sluice" / "client"),
            }
        )
        start = prepare(local, stack, Project(Settings()))
        report("backfill", measure(local, stack, directory, start))


def prepare(local: Local, stack: Stack, project: Project) -> datetime:
    """Write the events, and wait until the live job has read them all; the time of the first."""
    start = datetime.fromtimestamp(int(time.time() - 86_400) // 3600 * 3600, UTC)
    create_topics(project, JOB)
    connect(project.kafka).create_topics([NewTopic("by_hand", 3, 1)])["by_hand"].result()
    with stack.step(f"produce {EVENTS:,} events"):
        rate = EVENTS / RANGE.total_seconds()
        traffic = Traffic(seed=1, rate=rate, start_ms=int(start.timestamp() * 1000), partitions=3)
        wire.produce(local.kafka_servers, "analytics_events", traffic.bounded(EVENTS))
    with stack.step("the live job reads them"):
        deploy(project, JOB)
    return start


def measure(local: Local, stack: Stack, directory: Path, start: datetime) -> list[Measure]:
    """The seconds of each, measured in turn."""
    script = directory / "by_hand.py"
    text = by_hand.script(ROOT, JOB, local.kafka_servers, topic="by_hand", execution__checkpointing__interval="30 s")
    # The script has its SQL as Python literals.
    bounded = text.replace("'scan.startup.mode' = 'earliest-offset'", BOUNDED.replace("\n", "\\n"))
    if bounded == text:
        raise SystemExit("the script by hand has no place for its bounds")
    script.write_text(bounded, encoding="utf-8")
    by_kind: dict[str, list[float]] = {name: [] for name in ("flink", *map(str, CHUNKS))}
    kinds = list(by_kind)
    for turn in range(RUNS):
        for kind in kinds if turn % 2 else reversed(kinds):
            with stack.step(f"{kind}, {turn + 1} of {RUNS}"):
                taken = run_by_hand(local, script) if kind == "flink" else replay(int(kind), start)
                by_kind[kind].append(taken)
    theirs = by_kind.pop("flink")
    return [
        against(f"sluice backfill, {kind} chunk{'s' if kind != '1' else ''}", ours, "s", "flink run, bounded", theirs)
        for kind, ours in by_kind.items()
    ]


def replay(chunks: int, start: datetime) -> float:
    """One `sluice backfill`, whose comparison must find all rows equal."""
    words = [str(Path(sys.executable).parent / "sluice"), "backfill", JOB, "--json", "--parallel", str(chunks)]
    words += ["--start", start.isoformat(), "--end", (start + RANGE).isoformat()]
    words += ["--chunk", f"{int(RANGE.total_seconds()) // chunks}s"]
    begun = time.monotonic()
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    taken = time.monotonic() - begun
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    found = json.loads(done.stdout)
    parity = found["parity"][JOB]
    if parity["differing"] or parity["only_live"] or parity["only_replayed"] or found["records"] < EVENTS * 0.95:
        raise SystemExit(f"not equal: {parity}, {found['records']:,} records")
    return taken


def run_by_hand(local: Local, script: Path) -> float:
    """One `flink run`, to the end of its Flink job by the cluster's own time stamps."""
    words = by_hand.flink(local, "run", "-d", "-pyclientexec", sys.executable, "-py", str(script))
    begun = time.time()
    done = subprocess.run(
        words, capture_output=True, text=True, check=False, env={**os.environ, **by_hand.variables(local)}
    )
    if done.returncode:
        raise SystemExit(f"{done.stdout[-1500:]}{done.stderr[-1500:]}")
    with FlinkClient(local.flink_url) as flink:
        name = f"{JOB}_by_hand"
        job = max(
            (job for job in flink.send(calls.jobs()).jobs if job.name == name), key=lambda found: found.start_time
        )
        while not flink.send(calls.status(job.id)).status.is_terminal:
            time.sleep(0.2)
        time.sleep(3.5)  # the cluster caches job details for up to three seconds
        detail = flink.send(calls.job(job.id))
    if detail.state.value != "FINISHED":
        raise SystemExit(f"{name} is {detail.state.value}")
    return detail.end_time / 1000 - begun


if __name__ == "__main__":
    main()
