"""Snapshots from what a cluster has really answered, and in how many requests."""

import asyncio
import json
from dataclasses import replace

import pytest

from sluice.errors import UnreachableError
from sluice.flink import client as client_module
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.models import JobState
from sluice.health import metrics
from sluice.health.metrics import Reported
from sluice.health.probe import Seen, Target, earlier_offsets, look, place, probe
from sluice.health.snapshot import Failure, Snapshot, SplitReading
from sluice.kafka.offsets import Held, Offsets
from tests.support.recorded import PARTITIONS, SOURCE, TOPIC, RecordedCluster, body

JOB = "a" * 32
TARGET = Target(JOB, (TOPIC,), "group")
HELD = Held({(TOPIC, number): Offsets(0, 10_000) for number in range(PARTITIONS)})
OPERATOR = "Source__KafkaSource-default_catalog_default_database_events__topic"


def position(number):
    return f"{OPERATOR}.KafkaSourceReader.topic.{TOPIC}.partition.{number}.currentOffset"


def watermark(number, what="currentWatermark"):
    return f"{OPERATOR}.split.{TOPIC}-{number}.watermark.{what}"


def ask(cluster, question):
    async def go():
        async with AsyncFlinkClient(
            "http://flink", exchange=lambda _method, target, _body: cluster.answer(target)
        ) as flink:
            return await question(flink)

    return asyncio.run(go())


def see(cluster, target=TARGET, held=HELD):
    return ask(cluster, lambda flink: look(flink, target, held))


def cluster(**changes):
    return RecordedCluster({JOB: "event_metrics"}, **changes)


def failed(at=1_795_565_180_000, restarts=1):
    """Bodies of a job that has failed."""
    entry = {"timestamp": at, "stacktrace": "x.Outer: outer\n\tat x\nCaused by: c.Root: the reason\n"}
    history = json.dumps({"exceptionHistory": {"entries": [entry], "truncated": False}})
    return {"exceptions": history, "job_metrics": f'[{{"id":"numRestarts","value":"{restarts}"}}]'}


def after(milliseconds):
    """The job so long after its start."""
    recorded = json.loads(body("job"))
    return json.dumps({**recorded, "jid": JOB, "start-time": recorded["now"] - milliseconds})


def names(*ids):
    return json.dumps([{"id": name} for name in ids])


def test_the_names_of_metrics_are_read():
    match = metrics.POSITION.fullmatch("a.KafkaSourceReader.topic.my.topic-1.partition.12.currentOffset")
    assert (match["operator"], match["topic"], match["number"]) == ("a", "my.topic-1", "12")
    match = metrics.WATERMARK.fullmatch("a.split.my.topic-1-12.watermark.currentWatermark")
    assert (match["topic"], match["number"]) == ("my.topic-1", "12")
    assert metrics.LATE.fullmatch("GlobalWindowAggregate[5].numLateRecordsDropped")
    assert not metrics.LATE.fullmatch("GlobalWindowAggregate[5].lateRecordsDroppedRate")


def test_a_recorded_job_is_read():
    seen = see(cluster())
    snapshot = seen.snapshot
    assert (snapshot.state, snapshot.tasks_running, snapshot.tasks_total) == (JobState.RUNNING, 8, 8)
    assert (snapshot.restarts, snapshot.failures, snapshot.last_exception) == (0, (), None)
    checkpoints = snapshot.checkpoints
    assert (checkpoints.completed, checkpoints.failed, checkpoints.failed_in_a_row) == (80, 4, 0)
    assert (checkpoints.duration_ms, checkpoints.size) == (72, 195_090)
    assert snapshot.counters.records_in == 36_581
    assert (snapshot.counters.records_out, snapshot.counters.dead_letters) == (8, None)
    assert [work.busy_ms for work in snapshot.work] == [38_528, 21_896]
    assert snapshot.backpressured == 0.0
    splits = place(TARGET, seen, HELD, {})
    assert len(splits) == PARTITIONS
    first = splits[TOPIC, 0]
    assert (first.following, first.lag, first.watermark_ms) == (3_096, 6_904, 1_795_565_173_383)


def test_topics_without_event_time_are_told_with_the_snapshot():
    assert see(cluster(), replace(TARGET, untimed=(TOPIC,))).snapshot.untimed == (TOPIC,)


def test_with_remembered_names_a_job_takes_five_requests():
    first = cluster()
    former = see(first).snapshot
    assert len(first.asked) == 7  # and the names of two vertices
    second = cluster()
    seen = see(second, replace(TARGET, former=former))
    assert len(second.asked) == 5
    assert len(place(TARGET, seen, HELD, {})) == PARTITIONS
    assert seen.snapshot.counters == former.counters


def test_names_of_another_flink_job_are_not_taken_over():
    former = replace(see(cluster()).snapshot, flink_job_id="b" * 32)
    again = cluster()
    see(again, replace(TARGET, former=former))
    assert len(again.asked) == 7


def test_names_are_not_remembered_while_more_may_come():
    recorded = {**json.loads(body("job")), "jid": JOB}
    for task in recorded["vertices"]:
        task["tasks"] |= {"RUNNING": 3, "DEPLOYING": 1}
    young = see(cluster(changes={"job": json.dumps(recorded)})).snapshot
    assert (young.state, young.names) == (JobState.RUNNING, {})
    without = names("busyTimeMsPerSecond")
    young = see(cluster(changes={"job": after(5_000), "source_names": without})).snapshot
    assert (young.state, young.names) == (JobState.RUNNING, {})
    # A cluster that has just lost a part tells too little for minutes.
    assert see(cluster(changes={"source_names": without})).snapshot.names == {}


@pytest.mark.parametrize(
    ("age_ms", "ids", "unread"),
    [
        # None of Kafka at all, which is known as soon as metrics have been fetched.
        (20_000, ["Source__numbers.numRecordsOut"], (TOPIC,)),
        (5_000, ["Source__numbers.numRecordsOut"], ()),
        (20_000, [], ()),
        # One of Kafka, and of another topic: the partitions of this one may come.
        (20_000, [f"{OPERATOR}.KafkaSourceReader.topic.other.partition.0.currentOffset"], ()),
        (70_000, [f"{OPERATOR}.KafkaSourceReader.topic.other.partition.0.currentOffset"], (TOPIC,)),
        # One that has no partition yet: its brokers may be slow.
        (70_000, [f"{OPERATOR}.KafkaSourceReader.commitsFailed"], ()),
    ],
)
def test_a_topic_that_no_kafka_source_reads_is_told_as_soon_as_it_is_known(age_ms, ids, unread):
    snapshot = see(cluster(changes={"job": after(age_ms), "source_names": names(*ids)})).snapshot
    assert snapshot.unread == unread
    assert snapshot.names == {}


def test_a_topic_that_was_thought_unread_is_found_as_soon_as_its_reader_tells():
    changes = {"job": after(70_000), "source_names": names("Source__numbers.numRecordsOut")}
    former = see(cluster(changes=changes)).snapshot
    assert see(cluster(changes=changes), replace(TARGET, former=former)).snapshot.unread == (TOPIC,)
    found = see(cluster(), replace(TARGET, former=former)).snapshot
    assert (found.unread, set(found.names) >= {SOURCE}) == ((), True)


def test_a_job_with_200_partitions_is_read_in_requests_that_the_server_takes():
    many = Held({(TOPIC, number): Offsets(0, 4_000) for number in range(200)})
    asked = cluster()
    seen = see(asked, held=many)
    splits = place(TARGET, seen, many, {})
    assert [split.lag is not None for split in splits.values()] == [number < PARTITIONS for _, number in splits]
    assert len(asked.asked) < 30


def test_a_failure_is_asked_for_once_and_then_remembered():
    former = see(cluster()).snapshot
    fresh = cluster(changes=failed())
    found = see(fresh, replace(TARGET, former=former)).snapshot
    assert found.failures == (Failure(1_795_565_180_000, "c.Root: the reason"),)
    assert len(fresh.asked) == 5  # its counters have just begun anew
    later = cluster(changes=failed())
    again = see(later, replace(TARGET, former=found)).snapshot
    assert again.failures == found.failures
    assert not any("exceptions" in target for target in later.asked)


def test_failed_checkpoints_are_counted_back_from_the_newest():
    recorded = json.loads(body("checkpoints"))
    for item in recorded["history"][:3]:
        item |= {"status": "FAILED", "failure_timestamp": item["trigger_timestamp"], "failure_message": "expired"}
    recorded["history"].insert(0, {**recorded["history"][0], "id": 81, "status": "IN_PROGRESS"})
    checkpoints = see(cluster(changes={"checkpoints": json.dumps(recorded)})).snapshot.checkpoints
    assert checkpoints.failed_in_a_row == 3


def test_a_job_that_restarts_is_not_asked_for_what_its_tasks_reported():
    recorded = {**json.loads(body("job")), "state": "RESTARTING"}
    asked = cluster(changes={"job": json.dumps(recorded), **failed()})
    seen = see(asked, replace(TARGET, started_at={(TOPIC, 0): 3_000}))
    assert not any("vertices" in target for target in asked.asked)
    splits = place(TARGET, seen, HELD, {(TOPIC, 0): 3_000})
    assert splits[TOPIC, 0].lag == 7_000


def test_sinks_for_dead_letters_are_counted_by_themselves():
    letters = replace(TARGET, dead_letters=("event_metrics",))
    assert see(cluster(), letters).snapshot.counters.dead_letters == 8
    assert see(cluster(), replace(letters, dead_letters=("event",))).snapshot.counters.dead_letters is None


def test_a_quiet_partition_is_asked_whether_it_is_idle():
    gone_by = {watermark(3): 1_000.0, position(3): 9_999.0}
    first = see(cluster(metrics=gone_by))
    former = replace(first.snapshot, splits=place(TARGET, first, HELD, {}))
    for idle_ms, is_idle in ((1_000.0, True), (0.0, False)):
        idle = {**gone_by, watermark(3, "idleTimeMsPerSecond"): idle_ms}
        target = replace(TARGET, former=former)
        splits = place(target, see(cluster(metrics=idle), target), HELD, {})
        assert {partition[1]: split.is_idle for partition, split in splits.items() if split.is_idle is not None} == {
            3: is_idle
        }


def test_what_is_missing_is_unknown_and_not_zero():
    seen = see(cluster(metrics={position(0): None, watermark(1): None, watermark(2): float(-(2**63))}))
    splits = place(TARGET, seen, HELD, {})
    assert splits[TOPIC, 0].lag is None
    assert splits[TOPIC, 1].watermark_ms is None
    assert splits[TOPIC, 2].watermark_ms is None


def test_a_topic_that_is_gone_is_a_problem_and_no_job_without_reads():
    held = Held(missing={TOPIC: "unknown topic"})
    seen = see(cluster(), held=held)
    assert seen.snapshot.problems == (f"topic {TOPIC}: unknown topic",)
    assert place(TARGET, seen, held, {}) is None


def test_only_a_job_that_the_cluster_does_not_know_is_gone(monkeypatch):
    monkeypatch.setattr(client_module, "_PAUSES", (0.0,))
    gone = RecordedCluster({})
    assert ask(gone, lambda flink: probe(flink, JOB, (), {}, "group")).state is None
    troubled = cluster(changes={"checkpoints": 503})
    with pytest.raises(UnreachableError, match="not ready: 503"):
        see(troubled)


@pytest.mark.parametrize(("known", "at", "guessed"), [(100, 100, False), (None, 3, True)])
def test_where_a_reader_stood_is_remembered_while_it_reads_nothing_and_a_guess_is_not(known, at, guessed):
    before = {(TOPIC, 0): SplitReading(lag=0, watermark_ms=None, following=at, end=at, is_guessed=guessed)}
    former = Snapshot(0, JobState.RUNNING, TARGET.flink_job_id, splits=before)
    target = replace(TARGET, former=former)
    held = Held({(TOPIC, 0): Offsets(3, 100)})
    seen = Seen(Snapshot(1, JobState.RUNNING, TARGET.flink_job_id), Reported({(TOPIC, 0): -1}))
    earlier = earlier_offsets(target, seen)
    assert earlier.get((TOPIC, 0)) == known
    split = place(target, seen, held, earlier)[TOPIC, 0]
    assert (split.following, split.is_guessed) == (at, guessed)


def test_why_records_are_malformed_is_asked_where_some_are():
    counters = {f"{OPERATOR}.deserializer.malformedRecords": 600.0}
    asked = cluster(metrics=counters)
    seen = see(asked)
    assert [read.malformed for read in seen.snapshot.tally.reads] == [600]
    assert sum("firstMalformedReason" in target for target in asked.asked) == 1
    assert see(cluster()).snapshot.uncounted == ()


def test_a_source_that_does_not_count_its_records_is_named():
    recorded = [name for name in json.loads(body("source_names")) if not name["id"].endswith(".records")]
    assert see(cluster(changes={"source_names": json.dumps(recorded)})).snapshot.uncounted == ("events",)


def test_a_table_of_the_pipeline_over_another_topic_need_not_count_its_records():
    own = position(0).replace(OPERATOR, OPERATOR.replace("events__topic", "rates"))
    ids = [*(each["id"] for each in json.loads(body("source_names"))), own.replace(f".topic.{TOPIC}.", ".topic.rates.")]
    assert see(cluster(changes={"source_names": names(*ids)})).snapshot.uncounted == ()
