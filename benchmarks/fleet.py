"""One sweep of a fleet: four real jobs, and 100, 300 and 1,000 against a simulated cluster and broker.

Four of the product's jobs run on a local stack under traffic. The simulated jobs have 12 partitions each; their cluster
answers with recorded bodies (fleet_bodies/) whose positions advance, the broker with end offsets, each after 5 ms. All
else is real: job files on disk, fingerprints, a ledger in SQLite, written samples and metrics. Each run is a process
of its own, as a scheduled one is, measured after its imports. The first sweep, which also reads the names of metrics,
is reported separately.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.dag_parse import generate
from benchmarks.report import Measure, against, report
from tests.support.recorded import PARTITIONS, RecordedCluster

if TYPE_CHECKING:
    from sluice.fleet.rows import JobObservation
    from sluice.kafka.client import Brokers
    from sluice.project import Project

RUNS = int(os.environ.get("SLUICE_BENCH_RUNS", "3"))
SIZES = (100, 300, 1_000)
DELAY = 0.005
JOBS = ("event_metrics", "session_metrics", "performance_metrics", "processing_metrics")
REAL_RUNS = int(os.environ.get("SLUICE_BENCH_REAL_RUNS", "10"))
ONE_AFTER_THE_OTHER = "1"
SIDE_BY_SIDE = "32"


def job_id(number: int) -> str:
    return f"{number:032x}"


def topic(number: int) -> str:
    """As long as the recorded id, so that requests have the same length."""
    return f"analytics_{number:06}"


_POSITION = re.compile(rb'(currentOffset", "min": )(\d+)')


class Answering(asyncio.Protocol):
    """An HTTP server for requests without a body, one after the other on a connection."""

    cluster: RecordedCluster

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """A client connects."""
        self.transport = transport
        self.received = b""

    def data_received(self, data: bytes) -> None:
        """Answer each complete request."""
        self.received += data
        while (end := self.received.find(b"\r\n\r\n")) >= 0:
            target = self.received.split(b" ", 2)[1].decode()
            self.received = self.received[end + 4 :]
            if target == "/asked":
                status, body = 200, str(len(self.cluster.asked)).encode()
                self.cluster.asked.clear()
            else:
                status, body = self.cluster.answer(target)
                body = read_on(body)
            head = f"HTTP/1.1 {status} .\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
            asyncio.get_running_loop().call_later(DELAY, self.transport.write, head.encode() + body)


def read_on(body: bytes, begun: float = time.monotonic()) -> bytes:
    """The response with advancing positions: a job that stops behind the end would need further requests."""
    since = int((time.monotonic() - begun) * 4)
    return _POSITION.sub(lambda found: found[1] + b"%d" % (int(found[2]) + since), body)


async def serve(count: int) -> None:
    """Print the port, and answer until the process is terminated."""
    names = {job_id(number): f"job_{number:04}" for number in range(count)}
    Answering.cluster = RecordedCluster(names, topics={job_id(number): topic(number) for number in range(count)})
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()


def sweep_once(root: str, count: str, at_once: str) -> None:
    """One sweep of simulated jobs in this process; prints its time and memory as JSON."""
    from sluice.fleet.members import all_names
    from tests.support.brokers import HeldBrokers, HeldTopics

    topics = HeldTopics({topic(number): [8_000] * PARTITIONS for number in range(int(count))}, DELAY)
    project = open_project(root, HeldBrokers(topics))
    found, taken = sweep(project, all_names(project), at_once, is_whole=True)
    assert len(found) == int(count), len(found)
    assert all(row.snapshot and row.status.consumer_lag for row in found), found[0]
    print(json.dumps({**taken, "brokers": topics.calls}))


def sweep_real_once(root: str, at_once: str) -> None:
    """One sweep of the real jobs in this process; prints its time, memory and REST calls as JSON."""
    from sluice.flink.exchange import HttpExchange

    send, asked = HttpExchange.__call__, []

    def count(exchange: HttpExchange, method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
        asked.append(target)
        return send(exchange, method, target, body)

    HttpExchange.__call__ = count
    found, taken = sweep(open_project(root), JOBS, at_once)
    assert [row.status.job for row in found] == list(JOBS)
    assert all(row.snapshot and row.status.consumer_lag is not None for row in found), found
    print(json.dumps({**taken, "calls": len(asked)}))


def open_project(root: str, brokers: Brokers | None = None) -> Project:
    """The project as the sweeping process opens it."""
    from sluice.ports import Ports
    from sluice.project import Project
    from sluice.settings import Settings

    return Project(Settings(root=Path(root), home=Path(root) / "home"), ports=Ports(brokers=brokers))


def sweep(
    project: Project, names: Sequence[str], at_once: str, *, is_whole: bool = False
) -> tuple[list[JobObservation], dict[str, float]]:
    """Check and record these jobs; their rows, seconds and MiB."""
    from sluice.fleet.members import read_members
    from sluice.fleet.status import last_snapshots, observe_members, record
    from sluice.fleet.sweep import SweepBudget

    before = peak()
    began = time.perf_counter()
    members = read_members(project, names, last_snapshots(project))
    read = time.perf_counter()
    budget = SweepBudget(max_jobs=int(at_once), timeout_s=600)
    found = observe_members(project, members, is_whole=is_whole, budget=budget)
    record(project, members, found, datetime.now(UTC))
    done = time.perf_counter()
    return found, {"read": read - began, "seconds": done - read, "peak": peak(), "before": before}


def peak() -> float:
    """The peak memory of this process in MiB; `ru_maxrss` would include its parent's at the fork."""
    [line] = [line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM")]
    return int(line.split()[1]) / 1024


class Fleet:
    """A generated project with its simulated cluster.

    Args:
        directory: The directory of the project.
        count: The number of jobs.
    """

    def __init__(self, directory: Path, count: int) -> None:
        self.root, self.count = directory, count
        self.server = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.fleet", "serve", str(count)], stdout=subprocess.PIPE, text=True
        )
        assert self.server.stdout
        self.url = f"http://127.0.0.1:{int(self.server.stdout.readline())}"
        generate(directory, count)
        jobs = "".join(f"  job_{n:04}: {{reads: {{events: {{topic: {topic(n)}}}}}}}\n" for n in range(count))
        deployment = (
            f"kafka: {{config: {{bootstrap.servers: 'nowhere:1'}}}}\nflink: {{url: '{self.url}'}}\njobs:\n{jobs}"
        )
        (directory / "deployments").mkdir()
        (directory / "deployments" / "local.yaml").write_text(deployment, encoding="utf-8")
        self._place()

    def _place(self) -> None:
        """Record every job as running in the ledger, as a deploy does."""
        from sluice.fleet.members import all_names
        from sluice.ledger.tables import Placement, Release
        from sluice.release.fingerprint import fingerprint

        project = open_project(str(self.root))
        common = {"environment": "local", "release": 1, "had_checkpoint": True, "phase": "running"}
        with project.ledger._sessions.begin() as session:
            for number, name in enumerate(all_names(project)):
                digest = fingerprint(self.root, project.desired(name))
                now = datetime.now(UTC)
                session.add(
                    Release(
                        environment="local",
                        job=name,
                        number=1,
                        fingerprint=digest,
                        artifact="",
                        module="",
                        resolved={},
                        overrides={},
                        created_at=now,
                        healthy_at=now,
                    )
                )
                session.add(Placement(job=name, flink_job_id=job_id(number), since=now, **common))

    def sweep(self, at_once: str = SIDE_BY_SIDE) -> dict[str, float]:
        """A sweep in a process of its own: seconds, MiB, requests."""
        return {**in_a_process("sweep", str(self.root), str(self.count), at_once), "calls": self._asked()}

    def _asked(self) -> int:
        import httpx

        return int(httpx.get(f"{self.url}/asked").text)

    def close(self) -> None:
        """End the server."""
        self.server.terminate()
        self.server.wait()


def in_a_process(*arguments: str) -> dict[str, float]:
    """The output of a process of this file with these arguments."""
    command = [sys.executable, "-m", "benchmarks.fleet", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stderr[-3000:])
    taken: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return taken


def measure_real() -> list[Measure]:
    """Sweeps of four of the product's jobs on a local stack without Airflow: in parallel, and one after the other."""
    from benchmarks.pairs import traffic
    from benchmarks.stack import measuring_stack
    from tests.support.running import deploy
    from tests.support.stacks import ROOT

    with measuring_stack() as (stack, directory):
        local, root = stack.local, directory / "project"
        for name in ("flink_jobs", "deployments"):
            shutil.copytree(ROOT / name, root / name)
        os.environ.update(
            local.variables
            | {
                "SLUICE_FLINK_LIB": str(local.home / "flink" / "lib"),
                "SLUICE_CLIENT_CACHE": str(ROOT / ".sluice" / "client"),
            }
        )
        with traffic(local):
            for job in JOBS:
                with stack.step(f"deploy {job}"):
                    deploy(open_project(str(root)), job)
            in_a_process("real", str(root), SIDE_BY_SIDE)  # learns the names of metrics
            pairs = []
            for turn in range(REAL_RUNS):
                kinds = (SIDE_BY_SIDE, ONE_AFTER_THE_OTHER)
                with stack.step(f"sweeps, {turn + 1} of {REAL_RUNS}"):
                    # Each comes first as often as second, since the cluster warms up.
                    order = kinds if turn % 2 else reversed(kinds)
                    pairs.append({kind: in_a_process("real", str(root), kind) for kind in order})
    together, in_turn = ([pair[kind] for pair in pairs] for kind in (SIDE_BY_SIDE, ONE_AFTER_THE_OTHER))
    count = len(JOBS)
    jobs, seconds, calls = f"{count} real jobs", values(together, "seconds"), values(together, "calls", 1 / count)
    return [
        against(f"sweep of {jobs}", seconds, "s", "one job after the other", values(in_turn, "seconds")),
        against(f"REST calls a job, {jobs}", calls, "calls", "target", [5.0] * REAL_RUNS),
    ]


def measure(count: int, directory: Path) -> tuple[dict[str, float], list[dict[str, float]], list[dict[str, float]]]:
    """The first sweep, then sweeps in parallel and one after the other."""
    fleet = Fleet(directory, count)
    try:
        first = fleet.sweep()
        pairs = [(fleet.sweep(), fleet.sweep(ONE_AFTER_THE_OTHER)) for _ in range(RUNS)]
    finally:
        fleet.close()
    return first, [one for one, _ in pairs], [two for _, two in pairs]


def values(runs: list[dict[str, float]], name: str, times: float = 1) -> list[float]:
    return [run[name] * times for run in runs]


def main() -> None:
    """Measure both, print and write the results."""
    simulated = measure_simulated()
    report("fleet", simulated)
    report("fleet", [*measure_real(), *simulated])


def measure_simulated() -> list[Measure]:
    """Sweeps of fleets of each size."""
    rows: list[Measure] = []
    smallest: list[float] = []
    for count in SIZES:
        with tempfile.TemporaryDirectory() as directory:
            first, together, in_turn = measure(count, Path(directory))
        jobs = f"{count:,} jobs"
        seconds = values(together, "seconds")
        smallest = smallest or seconds
        scaled = [value * count / SIZES[0] for value in smallest]
        rows += [
            against(f"sweep of {jobs}", seconds, "s", "one job after the other", values(in_turn, "seconds")),
            against(f"sweep of {jobs}, growth", seconds, "s", f"{SIZES[0]} jobs, scaled", scaled),
            against(f"first sweep of {jobs}", [first["seconds"]], "s", "later ones", seconds[:1]),
            against(f"job files and fingerprints of {jobs}", values(together, "read"), "s", "their sweep", seconds),
            against(f"REST calls a job, {jobs}", values(together, "calls", 1 / count), "calls", "target", [5.0] * RUNS),
            against(f"peak memory, {jobs}", values(together, "peak"), "MiB", "imports", values(together, "before")),
        ]
    return rows


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["serve", size]:
            asyncio.run(serve(int(size)))
        case ["sweep", *given]:
            sweep_once(*given)
        case ["real", *given]:
            sweep_real_once(*given)
        case _:
            main()
