"""A Flink cluster that answers with what a real one has answered (benchmarks/fleet_bodies): a plain function.

Recorded on Flink 2.3.0: event_metrics at parallelism 4 on a topic of 12 partitions, with a checkpoint each second. Job
ids and names are put in, and the number of checkpoints in its metrics; times, positions and watermarks are recorded.
"""

import json
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from urllib.parse import parse_qs

BODIES = Path(__file__).resolve().parents[2] / "benchmarks" / "fleet_bodies"
RECORDED_ID = "da8d9a4ee5b54cd2ae4992a169424cf2"
SOURCE, WINDOW = "cbc357ccb763df2852fee8c4fc7d55f2", "c27dcf7b54ef6bfd6cff02ca8870b681"
TOPIC = "analytics_events"
PARTITIONS = 12
AT_MS = 1_795_565_184_431
"""When it was recorded, by the JobManager's clock."""
REQUEST_LINE = 4_096
"""Bytes that Flink's server takes."""


@lru_cache
def body(name: str) -> str:
    return (BODIES / f"{name}.json").read_text(encoding="utf-8")


@lru_cache
def values(vertex: str) -> dict[str, dict]:
    return {metric["id"]: metric for metric in json.loads(body(f"{vertex}_values"))}


class RecordedCluster:
    """Answers paths with bodies, and counts.

    Args:
        jobs: Name by job id.
        changes: Text that replaces a recorded body, by its name; a number: that status.
        metrics: Values that replace the recorded ones, by the metric's name; None: it is missing.
        topics: The topic that a job reads, by job id, where it isn't the recorded one; as long as that one's name.
    """

    def __init__(
        self,
        jobs: dict[str, str],
        changes: dict[str, str | int] | None = None,
        metrics: dict[str, float | None] | None = None,
        topics: dict[str, str] | None = None,
    ) -> None:
        self.jobs = jobs
        self.changes = changes or {}
        self.metrics = metrics or {}
        self.topics = topics or {}
        self.asked: list[str] = []

    def answer(self, target: str) -> tuple[int, bytes]:
        """Status and body for a request's path with its query."""
        self.asked.append(target)
        path, _, query = target.partition("?")
        if len(f"GET {target} HTTP/1.1") > REQUEST_LINE:
            return 404, b'{"errors":["Unable to load requested file /bad-request."]}'
        parts = path.strip("/").split("/")
        if path == "/jobs/overview":
            return self._give("overview", self.overview())
        job_id = parts[1]
        if job_id not in self.jobs:
            error = f"org.apache.flink.runtime.rest.NotFoundException: Job {job_id} not found"
            return 404, json.dumps({"errors": [error]}).encode()
        if parts[2:3] == ["vertices"]:
            vertex = {SOURCE: "source", WINDOW: "window"}[parts[3]]
            topic = self.topics.get(job_id, TOPIC)
            text = self._metrics(vertex, query.replace(topic, TOPIC)).replace(TOPIC, topic)
            return self._give(f"{vertex}_values" if query else f"{vertex}_names", text)
        name = {"metrics": "job_metrics"}.get(parts[-1], parts[-1] if len(parts) > 2 else "job")
        text = body(name).replace(RECORDED_ID, job_id)
        if name == "job":
            text = text.replace('"name":"event_metrics"', f'"name":"{self.jobs[job_id]}"')
        status, content = self._give(name, text)
        return status, content.replace(RECORDED_ID.encode(), job_id.encode())

    def overview(self) -> str:
        [recorded] = json.loads(body("overview"))["jobs"]
        return json.dumps({"jobs": [{**recorded, "jid": job, "name": name} for job, name in self.jobs.items()]})

    def _give(self, name: str, text: str) -> tuple[int, bytes]:
        change = self.changes.get(name, text)
        if isinstance(change, int):
            return change, b'{"errors":["told so by the test"]}'
        return 200, change.encode()

    def _metrics(self, vertex: str, query: str) -> str:
        if not query:
            return body(f"{vertex}_names")
        if not self.metrics:
            return _recorded_metrics(vertex, query)
        return json.dumps([self._metric(name, known) for name, known in _asked(vertex, query) if self._has(name)])

    def _has(self, name: str) -> bool:
        return self.metrics.get(name, 0) is not None

    def _metric(self, name: str, known: dict) -> dict:
        value = self.metrics.get(name)
        return known if value is None else {"id": name, "min": value, "max": value, "sum": value}


@lru_cache
def _recorded_metrics(vertex: str, query: str) -> str:
    return json.dumps([metric for _, metric in _asked(vertex, query)])


def _asked(vertex: str, query: str) -> Iterable[tuple[str, dict]]:
    names = parse_qs(query)["get"][0].split(",")
    return [(name, values(vertex)[name]) for name in names if name in values(vertex)]
