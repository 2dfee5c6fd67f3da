"""Two jobs of one query side by side: one of Sluice, and one run by Flink's command line."""

from __future__ import annotations

import itertools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from confluent_kafka import Consumer
from confluent_kafka.admin import NewTopic

from benchmarks import by_hand
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import cancel
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import read_committed, read_offsets
from sluice.local.layout import Local
from sluice.operation.topics import create_topics
from sluice.operation.verify import measure_downtime
from sluice.project import Project
from sluice.settings import Settings
from tests.support.stacks import ROOT

RATE = float(os.environ.get("SLUICE_BENCH_RATE", "500"))

DEPLOYMENT = """
kafka: {{config: {{bootstrap.servers: "{servers}"}}}}
flink: {{url: "{url}"}}
defaults:
  # The generator makes one event in a hundred malformed, and one late.
  health: {{malformed: 0.05, late: 0.05}}
  flink:
    execution.checkpointing.interval: 1 s
    execution.checkpointing.externalized-checkpoint-retention: RETAIN_ON_CANCELLATION
jobs:
  event_metrics: {{config: {{window: 1s}}}}
  state:
    flink:
      state.backend.type: rocksdb
      execution.checkpointing.incremental: "true"
      # A slot has a few megabytes of this small TaskManager, with which RocksDB would compact its tables all the time.
      state.backend.rocksdb.memory.fixed-per-slot: 128 mb
"""
STATE = '''"""Keeps what it reads for a day: state of as many megabytes as it is given."""

from typing import Annotated

from pydantic import Field

from sluice import Job, JobConfig, Kafka, Record


class Config(JobConfig):
    """A setting to change."""

    least: Annotated[int, Field(ge=0)] = 0


class Row(Record):
    """About a kilobyte."""

    id: str
    at: int
    payload: str


class Kept(Record):
    """A row of a day that is over."""

    id: str
    payload: str


job = Job(
    name="state",
    config=Config,
    reads={"lines": Kafka("state_in", record=Row, event_time="at", partitions=2)},
    writes=Kafka("state", record=Kept, key=("id",)),
)


@job.pipeline
def build(t_env, config):
    """Keep each id's greatest payload until the day's end."""
    return t_env.sql_query(f"""
        SELECT id, MAX(payload) AS payload
        FROM TABLE(TUMBLE(TABLE lines, DESCRIPTOR(event_time), INTERVAL '1' DAY))
        WHERE CHAR_LENGTH(id) >= {config.least}
        GROUP BY window_start, window_end, id
    """)
'''
ROCKSDB = {
    "state__backend__type": "rocksdb",
    "execution__checkpointing__incremental": "true",
    "state__backend__rocksdb__memory__fixed_per_slot": "128 mb",
}


def write_project(root: Path, local: Local) -> Path:
    """Write a project of the product's jobs, and a job with large state."""
    shutil.copytree(ROOT / "flink_jobs", root / "flink_jobs")
    (root / "flink_jobs" / "state.py").write_text(STATE, encoding="utf-8")
    (root / "deployments").mkdir()
    text = DEPLOYMENT.format(servers=local.kafka_servers, url=local.flink_url)
    (root / "deployments" / "bench.yaml").write_text(text, encoding="utf-8")
    return root


@dataclass(frozen=True)
class Taken:
    """The seconds of one redeploy."""

    downtime: float
    command: float
    gap: float = 0.0


class Pair:
    """Two jobs of one query: one of Sluice, and one started by hand."""

    def __init__(self, local: Local, root: Path, job: str) -> None:
        self.local, self.root, self.job = local, root, job
        self.theirs = f"{job}_by_hand"
        self.environment = {
            **os.environ,
            **local.variables,
            "SLUICE_ROOT": str(root),
            "SLUICE_HOME": str(root / ".sluice"),
            "SLUICE_ENVIRONMENT": "bench",
        }

    @property
    def project(self) -> Project:
        """The job's status in Sluice."""
        return Project(Settings(root=self.root, home=self.root / ".sluice", environment="bench"))

    def start(self, **settings: str) -> None:
        """Start both jobs."""
        create_topics(self.project, self.job)
        admin = connect({"bootstrap.servers": self.local.kafka_servers})
        admin.create_topics([NewTopic(self.theirs, 3, 1)])[self.theirs].result()
        self.sluice(None, **settings)
        self.by_hand(**settings)

    def sluice(self, mode: str | None, **settings: str) -> dict[str, object]:
        """Run `sluice deploy`; its row."""
        command = [str(Path(sys.executable).parent / "sluice"), "deploy", self.job, "--json"]
        command += [f"--mode={mode}"] if mode else []
        command += [word for name, value in settings.items() for word in ("--set", f"{name}={value}")]
        return dict(json.loads(self.run(command))[0])

    def by_hand(self, savepoint: str | None = None, **settings: str) -> None:
        """Run `flink run`, from a savepoint if given, until all tasks run."""
        values = {name: json.loads(value) for name, value in settings.items()}
        desired = self.project.desired(self.job, values)
        options = {"execution__checkpointing__interval": "1 s", **(ROCKSDB if self.job == "state" else {})}
        text = by_hand.script(
            self.root, self.job, self.local.kafka_servers, topic=self.theirs, config=desired.config, **options
        )
        path = self.root / "by_hand.py"
        path.write_text(text, encoding="utf-8")
        words = ["run", "-d", *(["-s", savepoint] if savepoint else [])]
        self.run(by_hand.flink(self.local, *words, "-pyclientexec", sys.executable, "-py", str(path)))
        self.await_tasks(self.theirs)

    def redeploy(self, kind: str, **settings: str) -> Taken:
        """One redeploy. `kind`: `savepoint` or `last-state` of Sluice, or `by hand`."""
        begun = time.monotonic()
        if kind != "by hand":
            row = self.sluice(kind, **settings)
            return Taken(int(str(row["downtime_ms"])) / 1000, time.monotonic() - begun)
        former = self.id_of(self.theirs)
        directory = str(self.local.home / "flink" / "savepoints")
        said = self.run(by_hand.flink(self.local, "stop", "--savepointPath", directory, former))
        path = next(word for word in said.split() if "savepoint-" in word)
        self.by_hand(path, **settings)
        with FlinkClient(self.local.flink_url) as flink:
            downtime = measure_downtime(flink, former, self.id_of(self.theirs))
        if downtime is None:
            raise SystemExit("the cluster has forgotten when the old job ended")
        return Taken(downtime / 1000, time.monotonic() - begun)

    def start_again(self, kind: str) -> float:
        """Seconds of a command that starts a release which was compiled before.

        Args:
            kind: `rollback`; `resume`, after a suspension; `recovery`: a deploy after the job was cancelled.
        """
        command = [str(Path(sys.executable).parent / "sluice"), kind, self.job, "--json"]
        if kind == "rollback":
            ledger = self.project.ledger
            place = ledger.placement(self.job)
            runs = place.release if place else None
            healthy = [each.number for each in ledger.releases(self.job) if each.healthy_at and each.number != runs]
            command.append(f"--to={max(healthy)}")
        if kind == "resume":
            self.run([command[0], "suspend", *command[2:]])
        if kind == "recovery":
            command[1] = "deploy"
            with FlinkClient(self.local.flink_url) as flink:
                cancel(flink, self.id_of(self.job), within=60)
        begun = time.monotonic()
        row = json.loads(self.run(command))[0]
        if row["outcome"] != "healthy" or not row["restored_from"]:
            raise SystemExit(f"expected a job restored from its state, got {row}")
        return time.monotonic() - begun

    def unchanged(self) -> float:
        """Seconds of a `sluice deploy` without changes."""
        begun = time.monotonic()
        row = self.sluice(None)
        if row["outcome"] != "unchanged":
            raise SystemExit(f"expected unchanged, got {row}")
        return time.monotonic() - begun

    def listed(self) -> float:
        """Seconds of a `flink list`, which sends one request to the cluster."""
        begun = time.monotonic()
        self.run(by_hand.flink(self.local, "list"))
        return time.monotonic() - begun

    def id_of(self, name: str) -> str:
        """The running Flink job of this name."""
        with FlinkClient(self.local.flink_url) as flink:
            jobs = flink.send(calls.jobs()).jobs
        return next(job.id for job in jobs if job.name == name and not job.state.is_terminal)

    def await_tasks(self, name: str) -> None:
        """Wait until every task of the job runs."""
        job = self.id_of(name)
        with FlinkClient(self.local.flink_url) as flink:
            while (detail := flink.send(calls.job(job))).tasks_running < detail.tasks_total:
                time.sleep(0.2)

    def state_bytes(self) -> int:
        """The size of the newest checkpoint of Sluice's job."""
        with FlinkClient(self.local.flink_url) as flink:
            newest = flink.send(calls.checkpoints(self.id_of(self.job))).latest.completed
        return newest.state_size if newest else 0

    def await_read(self, topic: str) -> None:
        """Wait until both jobs have read the topic to its end."""
        kafka = {"bootstrap.servers": self.local.kafka_servers}
        ends = {partition: held.end for partition, held in read_offsets(connect(kafka), [topic], "").items()}
        for group in (self.project.group(self.job), "by_hand"):
            while read_committed(kafka, group, ends) != ends:
                time.sleep(1)

    def end(self) -> None:
        """Cancel both jobs."""
        with FlinkClient(self.local.flink_url) as flink:
            flink.send(calls.cancel(self.id_of(self.theirs)))
        self.run([str(Path(sys.executable).parent / "sluice"), "suspend", self.job])

    def run(self, command: list[str]) -> str:
        """A command's standard output; its failure ends the benchmark."""
        variables = {**self.environment, **by_hand.variables(self.local)}
        done = subprocess.run(command, capture_output=True, text=True, check=False, env=variables)
        if done.returncode:
            raise SystemExit(f"{command}: {done.stdout[-1500:]}{done.stderr[-1500:]}")
        return done.stdout


class Listener:
    """Records the arrival times of a topic's committed records."""

    def __init__(self, servers: str, topic: str) -> None:
        self._consumer = Consumer(
            {
                "bootstrap.servers": servers,
                "group.id": f"listener-{topic}",
                "isolation.level": "read_committed",
                "auto.offset.reset": "latest",
                "topic.metadata.refresh.interval.ms": 1000,
            }
        )
        self._consumer.subscribe([topic])
        self._arrivals: list[float] = []
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """End the consumer."""
        self._ends.set()
        self._thread.join()
        self._consumer.close()

    def longest_silence(self, since: float, until: float) -> float:
        """The longest time between two consecutive records, within these moments of the monotonic clock, in seconds."""
        while not self._arrivals or self._arrivals[-1] < until:
            time.sleep(0.1)
        moments = [moment for moment in self._arrivals if since <= moment]
        return max(after - before for before, after in itertools.pairwise(moments))

    def _listen(self) -> None:
        while not self._ends.is_set():
            message = self._consumer.poll(0.05)
            if message is not None and not message.error():
                self._arrivals.append(time.monotonic())


@contextmanager
def traffic(local: Local) -> Iterator[None]:
    """Send events at the given rate, in a process of its own."""
    command = [sys.executable, "-m", "sluice.local", "traffic"]
    variables = {**os.environ, **local.variables, "SLUICE_TRAFFIC_RATE": str(RATE)}
    process = subprocess.Popen(command, env=variables)
    try:
        yield
    finally:
        process.terminate()
        process.wait()
