"""Snapshots from a real cluster's recorded answers, and the number of requests."""

import asyncio
import json
from dataclasses import replace

import pytest

from sluice.errors import UnreachableError
from sluice.flink.client import AsyncFlinkClient, FlinkClient
from sluice.flink.models import JobState
from sluice.health import metrics
from sluice.health.metrics import TaskMetrics
from sluice.health.probe import FlinkReading, WatchedJob, earlier_offsets, locate_splits, probe, read_from_flink
from sluice.health.snapshot import Failure, Snapshot, SplitReading
from sluice.kafka.offsets import Held, Offsets
from tests.support.recorded import PARTITIONS, SOURCE, TOPIC, RecordedCluster, body

JOB = "a" * 32
WATCHED = WatchedJob(JOB, (TOPIC,), "group")
HELD = Held({(TOPIC, number): Offsets(0, 10_000) for number in range(PARTITIONS)})
OPERATOR = "Source__KafkaSource-default_catalog_default_database_events__topic"


def position(number):
    return f"{OPERATOR}.KafkaSourceReader.topic.{TOPIC}.partition.{number}.currentOffset"


def watermark(number, what="currentWatermark"):
    return f"{OPERATOR}.split.{TOPIC}-{number}.watermark.{what}"


def ask(cluster, question):
    async def go():
        client = FlinkClient(
            "http://flink", exchange=lambda _method, target, _body: cluster.answer(target), pauses=(0.0,)
        )
        async with AsyncFlinkClient(client) as flink:
            return await question(flink)

    return asyncio.run(go())


def read(cluster, watched=WATCHED, held=HELD):
    return ask(cluster, lambda flink: read_from_flink(flink, watched, held))


def cluster(**changes):
    return RecordedCluster({JOB: "event_metrics"}, **changes)


def failed(at=1_795_565_180_000, restarts=1):
    """Answers of a job that has failed."""
    entry = {"timestamp": at, "stacktrace": "x.Outer: outer\n\tat x\nCaused by: c.Root: the reason\n"}
    history = json.dumps({"exceptionHistory": {"entries": [entry], "truncated": False}})
    return {"exceptions": history, "job_metrics": f'[{{"id":"numRestarts","value":"{restarts}"}}]'}


def after(milliseconds):
    """The job so many milliseconds after its start."""
    recorded = json.loads(body("job"))
    return json.dumps({**recorded, "jid": JOB, "start-time": recorded["now"] - milliseconds})


def names(*ids):
    return json.dumps([{"id": name} for name in ids])


def test_probe_recognises_metric_names():
    match = metrics.POSITION.fullmatch("a.KafkaSourceReader.topic.my.topic-1.partition.12.currentOffset")
    assert (match["operator"], match["topic"], match["number"]) == ("a", "my.topic-1", "12")
    match = metrics.WATERMARK.fullmatch("a.split.my.topic-1-12.watermark.currentWatermark")
    assert (match["topic"], match["number"]) == ("my.topic-1", "12")
    assert metrics.LATE.fullmatch("GlobalWindowAggregate[5].numLateRecordsDropped")
    assert not metrics.LATE.fullmatch("GlobalWindowAggregate[5].lateRecordsDroppedRate")


def test_probe_reads_a_recorded_job():
    found = read(cluster())
    snapshot = found.snapshot
    assert (snapshot.state, snapshot.tasks_running, snapshot.tasks_total) == (JobState.RUNNING, 8, 8)
    assert (snapshot.restarts, snapshot.failures, snapshot.last_exception) == (0, (), None)
    checkpoints = snapshot.checkpoints
    assert (checkpoints.completed, checkpoints.failed, checkpoints.failed_in_a_row) == (80, 4, 0)
    assert (checkpoints.duration_ms, checkpoints.size) == (72, 195_090)
    assert snapshot.counters.records_in == 36_581
    assert (snapshot.counters.records_out, snapshot.counters.dead_letters) == (8, None)
    assert [work.busy_ms for work in snapshot.work] == [38_528, 21_896]
    assert snapshot.backpressured == 0.0
    splits = locate_splits(WATCHED, found, HELD, {})
    assert len(splits) == PARTITIONS
    first = splits[TOPIC, 0]
    assert (first.next_offset, first.lag, first.watermark_ms) == (3_096, 6_904, 1_795_565_173_383)


def test_snapshot_lists_topics_without_event_time():
    assert read(cluster(), replace(WATCHED, untimed=(TOPIC,))).snapshot.untimed == (TOPIC,)


def job_metrics(completed, restarts=0):
    counts = {"numRestarts": restarts, "numberOfCompletedCheckpoints": completed}
    return json.dumps([{"id": name, "value": str(count)} for name, count in counts.items()])


def started(seconds_ago):
    """The job whose tasks started so long ago."""
    recorded = json.loads(body("job"))
    began = max(vertex["start-time"] for vertex in recorded["vertices"])
    return {"job": json.dumps({**recorded, "jid": JOB, "now": began + seconds_ago * 1_000})}


# The recorded job has completed 80 checkpoints, of which Flink shows the ten newest.
@pytest.mark.parametrize(("in_metrics", "complete"), [(0, False), (70, False), (71, True), (80, True)])
def test_names_are_kept_once_metrics_follow_a_checkpoint_of_the_tasks(in_metrics, complete):
    changed = cluster(changes={"job_metrics": job_metrics(in_metrics), **started(30)})
    assert read(changed).snapshot.are_names_complete is complete


@pytest.mark.parametrize(("in_metrics", "complete"), [(79, False), (80, True)])
def test_without_a_history_the_newest_checkpoint_counts(in_metrics, complete):
    recorded = json.dumps({**json.loads(body("checkpoints")), "history": []})
    changed = cluster(changes={"checkpoints": recorded, "job_metrics": job_metrics(in_metrics), **started(30)})
    assert read(changed).snapshot.are_names_complete is complete


def test_names_are_kept_a_minute_after_the_start_whatever_the_checkpoints_show():
    assert read(cluster(changes={"job_metrics": job_metrics(0), **started(61)})).snapshot.are_names_complete


def test_names_are_not_kept_before_the_first_checkpoint_of_restarted_tasks():
    job = json.loads(body("job"))
    newest = json.loads(body("checkpoints"))["latest"]["completed"]["trigger_timestamp"]
    job["timestamps"]["RESTARTING"] = newest + 1
    assert not read(cluster(changes={"job": json.dumps({**job, "jid": JOB})})).snapshot.are_names_complete


def test_names_are_not_kept_before_a_source_counts_by_event_time():
    listed = [metric["id"] for metric in json.loads(body("source_names"))]
    early = [name for name in listed if "recordsDropped" not in name]
    assert len(early) < len(listed)
    changed = {"source_names": names(*early), **started(30)}
    snapshot = read(cluster(changes=changed)).snapshot
    assert (snapshot.are_names_complete, snapshot.uncounted) == (False, ("events",))
    # A read without event time has no such counters.
    snapshot = read(cluster(changes=changed), replace(WATCHED, untimed=(TOPIC,))).snapshot
    assert snapshot.are_names_complete
    assert snapshot.uncounted == ()


def test_incomplete_names_are_requested_again_once_they_can_be_complete():
    early = {"job_metrics": job_metrics(70), **started(30)}
    previous = read(cluster(changes=early)).snapshot
    assert previous.names
    meanwhile = cluster(changes=early)
    again = read(meanwhile, replace(WATCHED, previous=previous)).snapshot
    assert (len(meanwhile.asked), again.are_names_complete) == (5, False)
    later = cluster(changes={"job_metrics": job_metrics(80), **started(30)})
    assert read(later, replace(WATCHED, previous=again)).snapshot.are_names_complete
    assert len(later.asked) == 7


def test_complete_names_are_kept_while_restarted_tasks_have_no_checkpoint():
    previous = read(cluster()).snapshot
    assert previous.are_names_complete
    job = json.loads(body("job"))
    newest = json.loads(body("checkpoints"))["latest"]["completed"]["trigger_timestamp"]
    job["timestamps"]["RESTARTING"] = newest + 1
    restarted = cluster(changes={"job": json.dumps({**job, "jid": JOB})})
    found = read(restarted, replace(WATCHED, previous=previous)).snapshot
    assert (found.names, found.are_names_complete) == (previous.names, True)


def test_probe_with_known_metric_names_takes_five_requests():
    first = cluster()
    previous = read(first).snapshot
    assert len(first.asked) == 7  # and the names of two vertices
    second = cluster()
    found = read(second, replace(WATCHED, previous=previous))
    assert len(second.asked) == 5
    assert len(locate_splits(WATCHED, found, HELD, {})) == PARTITIONS
    assert found.snapshot.counters == previous.counters


def test_probe_does_not_use_metric_names_of_another_flink_job():
    previous = replace(read(cluster()).snapshot, flink_job_id="b" * 32)
    again = cluster()
    read(again, replace(WATCHED, previous=previous))
    assert len(again.asked) == 7


def test_metric_names_are_not_kept_while_more_may_register():
    recorded = {**json.loads(body("job")), "jid": JOB}
    for task in recorded["vertices"]:
        task["tasks"] |= {"RUNNING": 3, "DEPLOYING": 1}
    young = read(cluster(changes={"job": json.dumps(recorded)})).snapshot
    assert (young.state, young.names) == (JobState.RUNNING, {})
    without = names("busyTimeMsPerSecond")
    young = read(cluster(changes={"job": after(5_000), "source_names": without})).snapshot
    assert (young.state, young.names) == (JobState.RUNNING, {})
    # After the loss of a TaskManager, the cluster reports too few metrics for minutes.
    assert read(cluster(changes={"source_names": without})).snapshot.names == {}


@pytest.mark.parametrize(
    ("age_ms", "ids", "unread"),
    [
        # No Kafka source at all, which is known once metrics have been fetched.
        (20_000, ["Source__numbers.numRecordsOut"], (TOPIC,)),
        (5_000, ["Source__numbers.numRecordsOut"], ()),
        (20_000, [], ()),
        # A Kafka source of another topic: partitions of this one may still come.
        (20_000, [f"{OPERATOR}.KafkaSourceReader.topic.other.partition.0.currentOffset"], ()),
        (70_000, [f"{OPERATOR}.KafkaSourceReader.topic.other.partition.0.currentOffset"], (TOPIC,)),
        # A Kafka source without partitions yet: its brokers may be slow.
        (70_000, [f"{OPERATOR}.KafkaSourceReader.commitsFailed"], ()),
    ],
)
def test_topic_without_kafka_source_is_reported_once_known(age_ms, ids, unread):
    snapshot = read(cluster(changes={"job": after(age_ms), "source_names": names(*ids)})).snapshot
    assert snapshot.unread == unread
    assert snapshot.names == {}


def test_topic_reported_unread_is_corrected_once_its_reader_registers():
    changes = {"job": after(70_000), "source_names": names("Source__numbers.numRecordsOut")}
    previous = read(cluster(changes=changes)).snapshot
    assert read(cluster(changes=changes), replace(WATCHED, previous=previous)).snapshot.unread == (TOPIC,)
    found = read(cluster(), replace(WATCHED, previous=previous)).snapshot
    assert (found.unread, set(found.names) >= {SOURCE}) == ((), True)


def test_job_with_200_partitions_is_read_in_requests_of_allowed_length():
    many = Held({(TOPIC, number): Offsets(0, 4_000) for number in range(200)})
    asked = cluster()
    found = read(asked, held=many)
    splits = locate_splits(WATCHED, found, many, {})
    assert [split.lag is not None for split in splits.values()] == [number < PARTITIONS for _, number in splits]
    assert len(asked.asked) < 30


def test_failure_is_requested_once_and_then_kept():
    previous = read(cluster()).snapshot
    fresh = cluster(changes=failed())
    found = read(fresh, replace(WATCHED, previous=previous)).snapshot
    assert found.failures == (Failure(1_795_565_180_000, "c.Root: the reason"),)
    assert len(fresh.asked) == 5  # its counters have just restarted from zero
    later = cluster(changes=failed())
    again = read(later, replace(WATCHED, previous=found)).snapshot
    assert again.failures == found.failures
    assert not any("exceptions" in watched for watched in later.asked)


def test_failed_checkpoints_in_a_row_are_counted_from_the_newest():
    recorded = json.loads(body("checkpoints"))
    for item in recorded["history"][:3]:
        item |= {"status": "FAILED", "failure_timestamp": item["trigger_timestamp"], "failure_message": "expired"}
    recorded["history"].insert(0, {**recorded["history"][0], "id": 81, "status": "IN_PROGRESS"})
    checkpoints = read(cluster(changes={"checkpoints": json.dumps(recorded)})).snapshot.checkpoints
    assert checkpoints.failed_in_a_row == 3


def test_metrics_of_a_restarting_job_are_not_requested():
    recorded = {**json.loads(body("job")), "state": "RESTARTING"}
    asked = cluster(changes={"job": json.dumps(recorded), **failed()})
    found = read(asked, replace(WATCHED, started_at={(TOPIC, 0): 3_000}))
    assert not any("vertices" in watched for watched in asked.asked)
    splits = locate_splits(WATCHED, found, HELD, {(TOPIC, 0): 3_000})
    assert splits[TOPIC, 0].lag == 7_000


def test_records_of_dead_letter_sinks_are_counted_separately():
    letters = replace(WATCHED, dead_letters=("event_metrics",))
    assert read(cluster(), letters).snapshot.counters.dead_letters == 8
    assert read(cluster(), replace(letters, dead_letters=("event",))).snapshot.counters.dead_letters is None


def test_idleness_of_a_quiet_partition_is_requested():
    gone_by = {watermark(3): 1_000.0, position(3): 9_999.0}
    first = read(cluster(metrics=gone_by))
    previous = replace(first.snapshot, splits=locate_splits(WATCHED, first, HELD, {}))
    for idle_ms, is_idle in ((1_000.0, True), (0.0, False)):
        idle = {**gone_by, watermark(3, "idleTimeMsPerSecond"): idle_ms}
        watched = replace(WATCHED, previous=previous)
        splits = locate_splits(watched, read(cluster(metrics=idle), watched), HELD, {})
        assert {partition[1]: split.is_idle for partition, split in splits.items() if split.is_idle is not None} == {
            3: is_idle
        }


def test_missing_figures_are_unknown_and_not_zero():
    found = read(cluster(metrics={position(0): None, watermark(1): None, watermark(2): float(-(2**63))}))
    splits = locate_splits(WATCHED, found, HELD, {})
    assert splits[TOPIC, 0].lag is None
    assert splits[TOPIC, 1].watermark_ms is None
    assert splits[TOPIC, 2].watermark_ms is None


def test_missing_topic_is_a_problem_of_the_snapshot():
    held = Held(missing={TOPIC: "unknown topic"})
    found = read(cluster(), held=held)
    assert found.snapshot.problems == (f"topic {TOPIC}: unknown topic",)
    assert locate_splits(WATCHED, found, held, {}) is None


def test_job_counts_as_gone_only_if_flink_does_not_know_it():
    gone = RecordedCluster({})
    assert ask(gone, lambda flink: probe(flink, JOB, (), {}, "group")).state is None
    troubled = cluster(changes={"checkpoints": 503})
    with pytest.raises(UnreachableError, match="not ready: 503"):
        read(troubled)


@pytest.mark.parametrize(("known", "at", "guessed"), [(100, 100, False), (None, 3, True)])
def test_known_position_is_kept_while_nothing_is_read_and_a_guess_is_not(known, at, guessed):
    before = {(TOPIC, 0): SplitReading(lag=0, watermark_ms=None, next_offset=at, end=at, is_guessed=guessed)}
    previous = Snapshot(0, JobState.RUNNING, WATCHED.flink_job_id, splits=before)
    watched = replace(WATCHED, previous=previous)
    held = Held({(TOPIC, 0): Offsets(3, 100)})
    found = FlinkReading(Snapshot(1, JobState.RUNNING, WATCHED.flink_job_id), TaskMetrics({(TOPIC, 0): -1}))
    earlier = earlier_offsets(watched, found)
    assert earlier.get((TOPIC, 0)) == known
    split = locate_splits(watched, found, held, earlier)[TOPIC, 0]
    assert (split.next_offset, split.is_guessed) == (at, guessed)


def test_reasons_are_requested_for_reads_with_malformed_records():
    counters = {f"{OPERATOR}.deserializer.malformedRecords": 600.0}
    asked = cluster(metrics=counters)
    found = read(asked)
    assert [read.malformed for read in found.snapshot.tally.reads] == [600]
    assert sum("firstMalformedReason" in watched for watched in asked.asked) == 1
    assert read(cluster()).snapshot.uncounted == ()


def test_source_without_counters_is_named():
    recorded = [name for name in json.loads(body("source_names")) if not name["id"].endswith(".records")]
    assert read(cluster(changes={"source_names": json.dumps(recorded)})).snapshot.uncounted == ("events",)


def test_table_over_an_undeclared_topic_needs_no_counters():
    own = position(0).replace(OPERATOR, OPERATOR.replace("events__topic", "rates"))
    ids = [*(each["id"] for each in json.loads(body("source_names"))), own.replace(f".topic.{TOPIC}.", ".topic.rates.")]
    assert read(cluster(changes={"source_names": names(*ids)})).snapshot.uncounted == ()
