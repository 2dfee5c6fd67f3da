"""Replays of the four jobs write the same rows as the live jobs; invalid replays are refused."""

import json
import os
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from confluent_kafka import TopicPartition

from sluice.errors import OperationError, RefusedError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.models import JobState
from sluice.kafka.brokers import connect
from sluice.kafka.history import offsets_at
from sluice.kafka.offsets import read_offsets
from sluice.local.traffic import oracle, wire
from sluice.local.traffic.generator import Message, Traffic
from sluice.operation.topics import create_topics
from sluice.replay.chunk import Chunk
from sluice.replay.live_guard import refuse_behind
from sluice.replay.model import ReplayPlan, ReplayRequest
from sluice.replay.parity import Parity, moment
from sluice.replay.preflight import plan_replay
from sluice.replay.progress import ChunkProgress
from sluice.replay.promote import promote
from sluice.replay.run import begin_replay, cancel_abandoned, cancel_chunks, cancel_replay, finish_replay, run_chunks
from tests.support.running import deploy, operate
from tests.support.topics import create_topic
from tests.support.waiting import wait_for

TOPIC = "replayed_events"
WINDOWS = {
    "event_metrics": timedelta(minutes=1),
    "performance_metrics": timedelta(minutes=5),
    "processing_metrics": timedelta(minutes=5),
    "session_metrics": timedelta(minutes=30),
}
WHOLE = os.environ.get("SLUICE_AUDIT_REPLAYS") == "all"
CASES = [(job, windows) for job in WINDOWS for windows in ((1, 3, 24) if WHOLE else (3,))]
HOURS = 27 if WHOLE else 6
"""Two chunks of 24 windows of the longest kind fit into the long form."""
START = datetime.fromtimestamp(int(time.time() - (HOURS + 18) * 3600) // 3600 * 3600, UTC)
RATE = 0.4
SECOND = timedelta(seconds=1)


class Live:
    """A job on the topic, with what it has written."""

    def __init__(self, lab):
        self.lab = lab
        lab.product_jobs()
        entries = "".join(
            f"  {job}:\n    reads: {{events: {{topic: {TOPIC}, idle_timeout: null}}}}\n"
            f"    writes: {{topic: replayed_{job}}}\n"
            for job in WINDOWS
        )
        lab.deployment(f"jobs:\n{entries}")

    def replay(self, job, start, end, **more):
        project = self.lab.project
        replay = begin_replay(project, job, ReplayRequest(start, end, **more), f"test-{time.time_ns()}", None, print)
        run_chunks(project, replay, print)
        report = finish_replay(project, replay, print)
        return project.ledger.replays.find(replay.id), report

    def topics(self):
        return set(connect(self.lab.project.kafka).list_topics(timeout=10).topics)

    def delete_before(self, moment):
        """As retention does."""
        admin = connect(self.lab.project.kafka)
        offsets = offsets_at(admin, read_offsets(admin, [TOPIC], ""), moment, "")
        for future in admin.delete_records([TopicPartition(*place, at) for place, at in offsets.items()]).values():
            future.result()

    def empty(self, topic):
        """All of it, as retention does."""
        admin = connect(self.lab.project.kafka)
        held = read_offsets(admin, [topic], "")
        ends = [TopicPartition(*place, offsets.end) for place, offsets in held.items()]
        for future in admin.delete_records(ends).values():
            future.result()

    def newest(self, topic, start, end):
        """Who reads the topic by key sees these rows of the range."""
        values = {message.key: message.value for message in wire.consume(self.lab.local.kafka_servers, topic)}
        rows = [json.loads(value) for value in values.values() if value is not None]
        moments = ("window_start", "window_end")
        read = [{**row, **{name: moment(row[name]) for name in moments}} for row in rows]
        return as_set(within(read, start, end, *moments))

    def move_on(self, hours):
        """One event in each partition, which closes what is open until then."""
        at = int((START + timedelta(hours=hours)).timestamp() * 1000)
        closing = Traffic(seed=7, rate=RATE, start_ms=at, partitions=3).bounded(1)[1:]
        wire.produce(self.lab.local.kafka_servers, TOPIC, closing)

    def lose(self, topic, end):
        """Delete some rows of a topic, as a mistake does."""
        there = [message for message in wire.consume(self.lab.local.kafka_servers, topic) if message.value]
        lost = [message for message in there if moment(json.loads(message.value)["window_end"]) <= end][-20:]
        gone = (Message(message.key, None, int(time.time() * 1000), message.partition) for message in lost)
        wire.produce(self.lab.local.kafka_servers, topic, gone)

    def rows(self, topic):
        return wire.rows(self.lab.local.kafka_servers, topic)


@pytest.fixture(scope="module")
def messages():
    """Hours of them; one of the partitions is silent for the third."""
    traffic = Traffic(seed=6, rate=RATE, start_ms=int(START.timestamp() * 1000), partitions=3)
    silent = range(*(int((START + timedelta(hours=hour)).timestamp() * 1000) for hour in (2, 3)))
    return [
        message
        for message in traffic.bounded(int(HOURS * 3600 * RATE))
        if message.partition != 2 or message.at_ms not in silent
    ]


@pytest.fixture(scope="module")
def expected(messages):
    return oracle.compute(messages)


@pytest.fixture
def live(lab, messages, written):
    live = Live(lab)
    create_topics(lab.project, "event_metrics")
    if TOPIC not in written:
        wire.produce(lab.local.kafka_servers, TOPIC, messages)
        written.add(TOPIC)
    return live


def within(rows, start, end, begins, ends):
    return [row for row in rows if start <= row[begins] and row[ends] <= end and row[begins] < end]


def as_set(rows):
    # Sums of floats differ in their last bits by the order of their terms.
    return sorted(
        tuple((name, round(value, 9) if isinstance(value, float) else value) for name, value in sorted(row.items()))
        for row in rows
    )


@pytest.mark.parametrize(("job", "windows"), CASES)
def test_replay_writes_the_same_rows_as_the_live_job(live, expected, job, windows):
    deploy(live.lab.project, job)
    want = getattr(expected, job)
    wait_for(lambda: len(live.rows(f"replayed_{job}")) >= len(want))
    begins, ends = ("start_time", "end_time") if job == "session_metrics" else ("window_start", "window_end")
    chunk = windows * WINDOWS[job]
    # Edges within windows, and on those of windows; over the hour of silence.
    edges = (
        (START + timedelta(hours=1, minutes=50, seconds=17), chunk * 2 - 12 * SECOND),
        (START + timedelta(hours=1, minutes=50), chunk * 2),
    )
    for start, length in edges if WHOLE or job == "event_metrics" else edges[:1]:
        end = min(start + length, START + timedelta(hours=HOURS))
        replay, report = live.replay(job, start, end, chunk=chunk, parallel=2)
        found = live.rows(report["output_topic"])
        assert as_set(found) == as_set(within(want, start, end, begins, ends))
        assert found
        parity = Parity.model_validate(next(iter(report["parity"].values())))
        assert (parity.equal, parity.is_equal) == (len(found), True), parity
        assert sum(part["rows"] for part in report["chunks"]) == len(found)
        assert replay.outcome == "completed"


def test_next_process_adopts_the_flink_job_of_a_chunk(live):
    """A process that dies leaves its Flink job: the next one finds it, and submits none beside it."""
    project = live.lab.project
    deploy(project, "event_metrics")
    request = ReplayRequest(START, START + timedelta(hours=4))
    replay = begin_replay(project, "event_metrics", request, "one", None, print)
    assert begin_replay(project, "event_metrics", request, "one", None, print).id == replay.id
    plan = ReplayPlan.model_validate(replay.plan)
    one, two = (Chunk(project, plan, 1, print, taker=taker) for taker in ("one", "two"))
    assert one.claim()
    assert not two.claim()
    first = one.start()
    assert two.find() == first
    assert two.row.attempt == 1
    run_chunks(project, replay, print)
    report = finish_replay(project, replay, print)
    assert report["chunks"][0]["attempts"] == 1
    assert report["records"] > 0
    # Run again on purpose, its rows are the same by their keys.
    assert not two.claim()
    project.ledger.replays.run_again(replay.id, 1)
    assert two.claim()
    job_id = two.start()
    with FlinkClient(live.lab.local.flink_url) as flink:
        wait_for(lambda: flink.send(calls.status(job_id)).status.is_terminal)
    # The one that was there before has no say any more.
    with pytest.raises(OperationError):
        one.conclude(first, ChunkProgress(JobState.FAILED))
    two.conclude(job_id, ChunkProgress(JobState.FINISHED))
    assert (two.row.attempt, two.row.state) == (2, "finished")
    assert finish_replay(project, replay, print)["parity"] == report["parity"]
    # A range of which there is nothing gives nothing.
    _, report = live.replay("event_metrics", START - timedelta(hours=3), START - timedelta(hours=2))
    assert (report["records"], report["rows"]) == (0, 0)


def test_cancelled_replay_leaves_no_flink_job(live):
    project = live.lab.project
    deploy(project, "session_metrics")
    request = ReplayRequest(START, START + timedelta(hours=6), chunk=timedelta(hours=3))
    replay = begin_replay(project, "session_metrics", request, "one", None, print)
    plan = ReplayPlan.model_validate(replay.plan)
    chunk = Chunk(project, plan, 1, print, taker="one")
    assert chunk.claim()
    job_id = chunk.start()
    # Who goes on with what another one has begun sees to it from then on.
    two = Chunk(project, plan, 1, print, taker="two")
    assert two.find() == job_id
    assert cancel_chunks(project, replay, "one", print) == []
    assert cancel_abandoned(project, lambda taker: taker == "one", print) == []
    assert chunk.row.state == "running"
    begun = time.monotonic()
    assert cancel_abandoned(project, lambda taker: taker == "two", print) == []
    assert chunk.row.state == "cancelled"
    assert chunk.claim()
    job_id = chunk.start()
    assert len(cancel_chunks(project, replay, "on", print)) == 1
    # Of a run that is given up; it can be gone on with.
    assert (chunk.row.state, project.ledger.replays.find(replay.id).outcome) == ("cancelled", "failed")
    cancel_replay(project, replay, print)
    with FlinkClient(live.lab.local.flink_url) as flink:
        assert flink.send(calls.status(job_id)).status.is_terminal
        running = [job.name for job in flink.send(calls.jobs()).jobs if not job.state.is_terminal]
    assert running == ["session_metrics"]
    assert time.monotonic() - begun < 30
    assert project.ledger.replays.find(replay.id).outcome == "cancelled"
    with pytest.raises(OperationError, match="2 of 2 chunks have not finished"):
        finish_replay(project, replay, print)


def refusal(project, job, plan):
    """Why the live job's rows of a range may not be written over yet."""
    with pytest.raises(OperationError) as refused:
        refuse_behind(project, job, plan)
    return str(refused.value)


def test_replay_with_a_fixed_release_corrects_the_live_topic(live, expected):
    """What a wrong filter has written is replaced, key by key; not by accident."""
    job, file = "event_metrics", live.lab.root / "flink_jobs" / "event_metrics.py"
    good = file.read_text()
    live.lab.deployment(
        f"jobs:\n  {job}:\n    reads: {{events: {{topic: {TOPIC}, idle_timeout: null}}}}\n"
        f"    writes: {{topic: mended_{job}}}\n"
    )
    file.write_text(good.replace("COUNT(*) AS event_count", "COUNT(*) + 1 AS event_count").replace(
        "event.type AS event_type", "UPPER(event.type) AS event_type"
    ))  # fmt: skip
    deploy(live.lab.project, job)
    want = expected.event_metrics
    wait_for(lambda: len(live.rows(f"mended_{job}")) >= len(want))
    # All was read, and no event has closed the last windows yet.
    open_range = plan_replay(live.lab.project, job, ReplayRequest(START, START + timedelta(hours=HOURS + 12)))
    wait_for(lambda: "it holds windows of the range open until" in refusal(live.lab.project, job, open_range))
    file.write_text(good)
    # The wrong release grouped by other values: the state would be kept with another meaning, which needs an approval.
    assert operate(live.lab.project, job, approved=True).outcome == "healthy"
    start, end = START, START + timedelta(hours=8)
    replay, report = live.replay(job, start, end, chunk=timedelta(hours=4), parallel=2)
    mended = within(want, start, end, "window_start", "window_end")
    topic, right = f"mended_{job}", as_set(mended)
    # It was started again, and nothing has come since.
    with pytest.raises(OperationError, match="has no watermark until new events arrive"):
        promote(live.lab.project, replay, print, accept_differences=True)
    live.move_on(HOURS + 8)
    assert report["parity"][job]["only_live"] == report["parity"][job]["only_replayed"] == len(mended)
    with pytest.raises(RefusedError, match=f"delete {len(mended):,} rows"):
        promote(live.lab.project, replay, print)
    assert live.lab.project.ledger.replays.find(replay.id).promoted_at is None
    (done,) = wait_for(lambda: promoted(live.lab.project, replay))
    assert (done.written, done.deleted) == (len(mended), len(mended))
    assert live.newest(topic, start, end) == right
    (again,) = promote(live.lab.project, replay, print)
    assert (again.written, again.deleted) == (0, 0)
    _, later = live.replay(job, start, end)
    assert Parity.model_validate(later["parity"][job]).is_equal
    replay_beside(live, job, start, end, mended)
    replay_over(live, job, topic, start, end, right)
    # As retention does: what is no longer there deletes nothing in its place.
    live.empty(report["output_topic"])
    with pytest.raises(RefusedError, match="has deleted the replay's rows before offset"):
        promote(live.lab.project, replay, print, accept_differences=True)
    with pytest.raises(RefusedError, match="has deleted the replay's rows"):
        finish_replay(live.lab.project, replay, print)
    assert live.lab.project.ledger.replays.find(replay.id).report["rows"] == len(mended)
    assert live.newest(topic, start, end) == right
    replay_moved(live, job, replay)


def promoted(project, replay):
    """What promoting has written; nothing while the live job is not past the range yet."""
    try:
        return promote(project, replay, print, accept_differences=True)
    except OperationError as error:
        if "it holds windows of the range open" in str(error) or "has no watermark until" in str(error):
            return None
        raise


def replay_beside(live, job, start, end, mended):
    """The first release, whose filter was wrong, into a topic of one's own that holds other rows already."""
    project, topic = live.lab.project, f"beside_{job}"
    create_topic(connect(project.kafka), topic, 3)
    for turn in range(2):
        replay, report = live.replay(job, start, end, output=topic, release=1)
        assert (report["output_topic"], replay.release, report["rows"]) == (topic, 1, len(mended))
        parity = report["parity"][job]
        assert (parity["only_replayed"], parity["only_live"]) == (len(mended), len(mended))
        assert len(live.rows(topic)) == (turn + 1) * len(mended)
    goes_on = begin_replay(project, job, ReplayRequest(start, end, output=topic), "another", None, print)
    with pytest.raises(RefusedError, match=f"replay {goes_on.id[:8]} of {job} is in progress and may write"):
        plan_replay(project, job, ReplayRequest(start, end, output=topic))
    cancel_replay(project, goes_on, print)


def replay_over(live, job, topic, start, end, right):
    """Straight into the live topic, where that is meant."""
    project = live.lab.project
    live.lose(topic, end)
    assert live.newest(topic, start, end) != right
    asked = ReplayRequest(start, end, output="live")
    with pytest.raises(RefusedError, match="overwrites its rows without comparing them"):
        plan_replay(project, job, asked)
    with pytest.raises(RefusedError, match="rows computed from incomplete input"):
        plan_replay(project, job, replace(asked, accept_differences=True, accept_missing=True))
    far = replace(asked, end=START + timedelta(hours=HOURS + 15), accept_differences=True)
    with pytest.raises(OperationError, match="it holds windows of the range open until"):
        plan_replay(project, job, far)
    replay, report = live.replay(job, start, end, output="live", accept_differences=True)
    assert (report["output_topic"], report["parity"]) == (topic, None)
    assert live.newest(topic, start, end) == right
    with pytest.raises(RefusedError, match="there is nothing to promote"):
        promote(project, replay, print)


def replay_moved(live, job, replay):
    """The sink has another topic by now: what a former release has written is neither live nor another one."""
    live.lab.deployment(
        f"jobs:\n  {job}:\n    reads: {{events: {{topic: {TOPIC}, idle_timeout: null}}}}\n"
        f"    writes: {{topic: moved_{job}}}\n"
    )
    project, plan = live.lab.project, ReplayPlan.model_validate(replay.plan)
    deploy(project, job)
    former = ReplayRequest(plan.start, plan.end, release=plan.release, accept_differences=True)
    with pytest.raises(RefusedError, match=f"to mended_{job}; the live topic is now moved_{job}"):
        plan_replay(project, job, replace(former, output="live"))
    with pytest.raises(RefusedError, match=f"moved_{job} is the live topic of {job}"):
        plan_replay(project, job, replace(former, output=f"moved_{job}"))
    with pytest.raises(RefusedError, match=f"to mended_{job}; the live topic is now moved_{job}"):
        promote(project, replay, print, accept_differences=True)


def test_invalid_replays_are_refused_without_creating_topics(live):
    project = live.lab.project
    day = timedelta(days=1)
    good = ReplayRequest(START, START + timedelta(hours=2), chunk=timedelta(hours=1))
    with pytest.raises(RefusedError, match="was never deployed"):
        plan_replay(project, "event_metrics", good)
    deploy(project, "event_metrics")
    create_topic(connect(project.kafka), "replayed_one")
    before = live.topics()
    for request, words in (
        (replace(good, end=START - day), "which is not after its start"),
        (replace(good, start=START - 8 * day), "its replay rule allows 7 days"),
        (replace(good, end=datetime.now(UTC) + day / 2), "may arrive until"),
        (replace(good, chunk=timedelta(0)), "the chunk length is 0:00:00"),
        (replace(good, chunk=timedelta(milliseconds=1)), "are 7,200,000 chunks; at most 1,000"),
        (replace(good, output="replayed_session_metrics"), "session_metrics writes replayed_session_metrics"),
        (
            replace(good, chunk=timedelta(seconds=30)),
            "a chunk is 0:00:30 long, but one of its rows covers up to 0:01:00",
        ),
        (replace(good, output="nowhere"), "the output topic nowhere does not exist"),
        (replace(good, output=TOPIC), "a replay can't write there"),
        (replace(good, output="replayed_event_metrics"), "is the live topic"),
        (replace(good, output="replayed_one"), "has 1 partitions, replayed_event_metrics has 3"),
        (replace(good, release=7), "has no release 7"),
        (replace(good, overrides={"window": "0s"}), "given for this replay"),
        (replace(good, chunk=timedelta(minutes=10), parallel=9), "its replay rule allows 4"),
    ):
        with pytest.raises(RefusedError) as refused:
            plan_replay(project, "event_metrics", request)
        assert words in str(refused.value)
    with pytest.raises(RefusedError, match="declares no replay"):
        plan_replay(project, "dead_letters", good)
    assert live.topics() == before


def test_replay_of_a_range_that_kafka_has_deleted_is_refused(live, written):
    deploy(live.lab.project, "event_metrics")
    live.delete_before(START + timedelta(hours=5))
    with pytest.raises(RefusedError, match="has deleted its records before offset") as refused:
        plan_replay(live.lab.project, "event_metrics", ReplayRequest(START, START + timedelta(hours=1)))
    missing = ReplayRequest(START, START + timedelta(hours=1), accept_missing=True)
    # Of what Kafka has deleted it reads nothing, and says so.
    assert plan_replay(live.lab.project, "event_metrics", missing).records < 200
    later = datetime.fromisoformat(str(refused.value).partition("begin at ")[2][:19]).replace(tzinfo=UTC) + SECOND
    assert plan_replay(live.lab.project, "event_metrics", ReplayRequest(later, later + timedelta(minutes=5)))
    # Whoever comes next fills it anew.
    live.lab.cancel_all()
    connect(live.lab.project.kafka).delete_topics([TOPIC])[TOPIC].result()
    wait_for(lambda: TOPIC not in live.topics())
    written.discard(TOPIC)
