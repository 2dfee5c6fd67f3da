"""A client process from its start until it is ready: with Sluice's class path and class-data archive, and without.

Without them, the client starts as PyFlink does: with Flink's class path and PyFlink's JVM options.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil

from benchmarks.report import against, report
from sluice.client.archive import cluster
from sluice.client.class_path import CACHE
from sluice.client.process import ClientProcess
from sluice.client.protocol import Build
from sluice.local.flink import gather_jars
from sluice.terminal import console
from tests.support.stacks import ROOT, local_stack

RUNS = int(os.environ.get("SLUICE_BENCH_RUNS", "7"))
JOB = "event_metrics"
BEFORE = "-XX:TieredStopAtLevel=1 -Xmx512m"


def main() -> None:
    """Measure both in turn, print and write the results."""
    with tempfile.TemporaryDirectory() as directory, cluster() as url:
        lib = gather_jars(local_stack(Path(directory) / "home"))
        cache = Path(directory) / "cache"
        variables = {"with": {CACHE: str(cache)}, "without": {CACHE: "", "JVM_ARGS": BEFORE}}
        command = [sys.executable, "-m", "sluice.client.archive", str(cache)]
        subprocess.run(command, env={**os.environ, "FLINK_LIB_DIR": str(lib)}, check=True)
        order = Build(
            job=JOB,
            module=f"flink_jobs.{JOB}",
            code=str(ROOT),
            environment="bench",
            brokers={"bootstrap.servers": "127.0.0.1:1"},
            flink_url=url,
        )
        taken: dict[str, list[tuple[float, float]]] = {"with": [], "without": []}
        for turn in range(RUNS):
            for kind in ("with", "without") if turn % 2 else ("without", "with"):
                given = {"FLINK_LIB_DIR": str(lib), **variables[kind]}
                taken[kind].append(start(order, given, Path(directory) / "log"))
                console.print(f"{kind}, {turn + 1} of {RUNS}: {taken[kind][-1][0]:.1f} s")
    report(
        "client_start",
        [
            against(
                f"client process to ready, {words}",
                [run[index] for run in taken["with"]],
                "s",
                "Flink's class path, no archive",
                [run[index] for run in taken["without"]],
            )
            for index, words in enumerate(("wall time", "CPU time with its JVM"))
        ],
    )


def start(order: Build, variables: dict[str, str], log: Path) -> tuple[float, float]:
    """Seconds until it is ready: elapsed, and of CPU."""
    begun = time.monotonic()
    with ClientProcess(Path(sys.executable), log, variables=variables) as client:
        client.prepare(order, timeout=180)
        wall = time.monotonic() - begun
        process = psutil.Process(client.pid)
        times = [each.cpu_times() for each in (process, *process.children(recursive=True))]
    return wall, sum(each.user + each.system for each in times)


if __name__ == "__main__":
    main()
