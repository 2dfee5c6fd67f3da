"""Positions, watermarks and lag from what Flink and the broker say."""

import asyncio

import httpx
import pytest

from sluice.flink.client import AsyncFlinkClient
from sluice.flink.models import JobDetail
from sluice.health.metrics import LATE, POSITION, WATERMARK, read_metrics
from sluice.health.probe import _is_doubtful, next_offsets, probe, read_splits
from sluice.health.snapshot import SplitReading
from sluice.kafka.offsets import Offsets

NAME = "0.Source__KafkaSource-default_catalog_default_database_events__topic"
WINDOW = "GlobalWindowAggregate[5].numLateRecordsDropped"
JOB, SOURCE, SINK = "a" * 32, "b" * 32, "c" * 32
DETAIL = {
    "jid": JOB,
    "name": "j",
    "state": "RUNNING",
    "start-time": 0,
    "now": 1,
    "vertices": [
        {"id": SOURCE, "name": "Source: events", "parallelism": 1, "status": "RUNNING", "tasks": {"RUNNING": 1}},
        {"id": SINK, "name": "GlobalWindowAggregate[5]", "parallelism": 2, "status": "RUNNING", "tasks": {}},
    ],
}


def test_the_names_of_metrics_are_read():
    match = POSITION.fullmatch(f"{NAME}.KafkaSourceReader.topic.my.topic-1.partition.12.currentOffset")
    assert (match["topic"], match["number"]) == ("my.topic-1", "12")
    match = WATERMARK.fullmatch(f"{NAME}.split.my.topic-1-12.watermark.currentWatermark")
    assert (match["topic"], match["number"]) == ("my.topic-1", "12")
    assert LATE.fullmatch(WINDOW)
    assert not LATE.fullmatch("GlobalWindowAggregate[5].lateRecordsDroppedRate")


class Cluster:
    """A job with many partitions, behind a server that takes request lines as short as Flink's."""

    def __init__(self, partitions: int) -> None:
        self.metrics = {}
        for number in range(partitions):
            self.metrics[f"{NAME}.KafkaSourceReader.topic.events.partition.{number}.currentOffset"] = str(number)
            self.metrics[f"{NAME}.split.events-{number}.watermark.currentWatermark"] = str(1_000 + number)
        self.metrics["0.mailboxLatencyMs_max"] = "1"
        self.asked = 0

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked += 1
        if len(f"GET {request.url.raw_path.decode()} HTTP/1.1") > 4_096:
            return httpx.Response(404, json={"errors": ["Unable to load requested file /bad-request."]})
        wanted = request.url.params.get("get")
        if request.url.path.endswith(f"{SINK}/subtasks/metrics"):
            found = [{"id": WINDOW, "sum": 4.0}] if wanted else [{"id": WINDOW}, {"id": "isBackPressured"}]
        elif wanted:
            found = [{"id": name, "value": self.metrics[name]} for name in wanted.split(",")]
        else:
            found = [{"id": name} for name in self.metrics]
        return httpx.Response(200, json=found)


def ask(cluster, question):
    async def go():
        async with AsyncFlinkClient("http://flink", transport=httpx.MockTransport(cluster)) as flink:
            return await question(flink)

    return asyncio.run(go())


def test_a_job_with_200_partitions_is_read_in_requests_that_the_server_takes():
    cluster = Cluster(200)
    reported = ask(cluster, lambda flink: read_metrics(flink, JobDetail.model_validate(DETAIL)))
    assert reported.positions == {("events", number): number for number in range(200)}
    assert reported.watermarks == {("events", number): 1_000 + number for number in range(200)}
    assert cluster.asked < 40


def test_what_windows_have_dropped_is_summed():
    reported = ask(Cluster(1), lambda flink: read_metrics(flink, JobDetail.model_validate(DETAIL)))
    assert reported.late_dropped == 4


def test_only_a_job_that_the_cluster_does_not_know_is_gone():
    def unknown(request):
        return httpx.Response(404, json={"errors": [f"x.NotFoundException: Job {JOB} not found\n\tat x"]})

    assert ask(unknown, lambda flink: probe(flink, JOB, (), {}, "group")).state is None


@pytest.mark.parametrize(
    ("position", "committed", "offsets", "lag"),
    [
        (9, None, Offsets(0, 10), 0),
        (4, None, Offsets(0, 10), 5),
        (None, None, Offsets(0, 10), None),  # no metric: unknown, not zero
        (-1, None, Offsets(0, 0), 0),
        (-1, None, Offsets(3, 10), 7),  # nothing read yet: all that the topic holds
        (-1, 10, Offsets(0, 10), 0),  # restored at the end, nothing came since
        (-1, 2, Offsets(5, 10), 5),  # what was between is gone from the topic
    ],
)
def test_lag(position, committed, offsets, lag):
    key = ("t", 0)
    positions = {} if position is None else {key: position}
    following = next_offsets(positions, {key: offsets}, {} if committed is None else {key: committed})
    assert read_splits({}, {key: offsets}, following) == {key: SplitReading(lag, None)}


@pytest.mark.parametrize(
    ("lag", "watermark", "doubtful"),
    [
        (1, 0, True),
        (1, None, True),
        (1, 95_000, False),  # fresh: it is being read
        (0, 0, False),
        (None, None, False),
        (5_000, 0, False),  # no transaction's end looks like this
    ],
)
def test_a_small_lag_that_stands_still_is_looked_at_again(lag, watermark, doubtful):
    assert _is_doubtful(SplitReading(lag, watermark), 100_000) is doubtful
