"""A chunk runs as one Flink job, whichever taker starts it and whichever answer of the cluster is lost."""

import json
from datetime import timedelta

import pytest

from sluice.errors import OperationError, RefusedError, UnreachableError
from sluice.flink.client import FlinkClient
from sluice.flink.exchange import NoAnswerError
from sluice.flink.models import JobState
from sluice.kafka.offsets import Offsets
from sluice.ledger.replay_tables import ReplayChunk
from sluice.replay.progress import ChunkProgress
from tests.support.placing import Columns
from tests.unit.replay.clustered import Clustered

SUBMITTING = "sluice.ledger.chunk_scheduling.SUBMITTING"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    return Clustered(tmp_path, monkeypatch)


@pytest.mark.parametrize("taker", ["two", "one"], ids=["another", "a retry of the same task"])
def test_a_chunk_being_submitted_cannot_be_claimed_again(cluster, taker):
    second = cluster.chunk(taker=taker)

    def submits(flink_job_id):
        assert second.find() is None
        assert not second.claim()
        cluster.run(flink_job_id)

    cluster.submits = submits
    one = cluster.chunk()
    assert one.claim()
    flink_job_id = one.start()
    assert not second.claim()
    assert second.find() == flink_job_id
    assert (cluster.alive(), cluster.row().attempt) == ([flink_job_id], 1)


def test_same_taker_restarts_a_chunk_that_never_reached_the_cluster(cluster, monkeypatch):
    first = cluster.chunk()
    assert first.claim()
    # The process dies before it sends anything.
    cluster.ledger.replays.submitting(cluster.plan.id, 1, "one")
    again = cluster.chunk()
    assert not again.claim()
    monkeypatch.setattr(SUBMITTING, timedelta(0))
    assert again.find() is None
    assert again.claim()
    flink_job_id = again.start()
    assert cluster.alive() == [flink_job_id]


def test_submission_with_a_lost_answer_is_found_on_the_cluster(cluster):
    def submits(flink_job_id):
        cluster.arrives[flink_job_id] = 3
        raise OperationError("the client died")

    cluster.submits = submits
    chunk = cluster.chunk()
    assert chunk.claim()
    flink_job_id = chunk.start()
    assert (cluster.alive(), cluster.row().state) == ([flink_job_id], "running")


def test_submission_that_does_not_arrive_in_time_fails_the_chunk(cluster, monkeypatch):
    monkeypatch.setattr(SUBMITTING, timedelta(seconds=0.2))
    asked = []

    def submits(flink_job_id):
        asked.append(flink_job_id)
        raise OperationError("the client died")

    cluster.submits = submits
    chunk = cluster.chunk()
    assert chunk.claim()
    with pytest.raises(OperationError, match="the client died"):
        chunk.start()
    assert (cluster.row().state, cluster.row().reason) == ("failed", "the client died")
    # The next attempt starts at once.
    cluster.submits = cluster.run
    assert chunk.claim()
    assert chunk.start() not in asked


def test_chunk_stays_running_if_the_cluster_is_unreachable_after_submitting(cluster):
    def submits(flink_job_id):
        cluster.run(flink_job_id)
        cluster.silent = 1
        raise OperationError("the client died")

    cluster.submits = submits
    chunk = cluster.chunk()
    assert chunk.claim()
    with pytest.raises(UnreachableError):
        chunk.start()
    assert cluster.row().state == "running"
    assert chunk.find() == cluster.alive()[0]


def test_cancelling_during_the_submission_cancels_the_job_after_it_arrives(cluster):
    """As a signal handler does, in the process that submits: the ledger changes once the job has ended."""
    chunk = cluster.chunk()

    def submits(flink_job_id):
        chunk.cancel()
        assert cluster.row().state == "running"
        cluster.run(flink_job_id)

    cluster.submits = submits
    assert chunk.claim()
    with pytest.raises(OperationError, match="was cancelled before its Flink job ran"):
        chunk.start()
    assert (list(cluster.states.values()), cluster.row().state) == (["CANCELED"], "cancelled")
    # The chunk can be started again.
    cluster.submits = cluster.run
    assert chunk.claim()
    assert cluster.states[chunk.start()] == "RUNNING"


def test_stopping_during_the_submission_cancels_the_job(cluster):
    chunk, ended = cluster.chunk(), []
    cluster.submits = lambda flink_job_id: (ended.append(1), cluster.run(flink_job_id))
    assert chunk.claim()
    with pytest.raises(OperationError, match="was cancelled before its Flink job ran"):
        chunk.start(lambda: bool(ended))
    assert cluster.alive() == []


def test_chunk_waits_for_slots_and_leaves_those_reserved_for_a_live_job(cluster):
    """A live job frees its slots for a second while its next release starts."""
    chunk = cluster.chunk()
    cluster.slots = chunk.slots - 1
    assert not chunk.claim()
    cluster.slots = chunk.slots
    operation = cluster.ledger.begin("counts", kind="deploy", holder="me", release=1)
    place = {"release": 1, "flink_job_id": "f" * 32}
    operation.record("stop", "stopped", transition=Columns({**place, "phase": "stopped"}))
    assert not chunk.claim()
    assert chunk.waits_for == (
        "counts.replay.abcdefgh.1 is queued: it takes 1 task slots, 1 are free, of which reserved: 1 for counts; "
        "other chunks that run or start: 0 of 2 in this replay, 0 of 4 in all of the job's"
    )
    # A stopped job keeps its reservation, and other slots are free for the chunk.
    cluster.slots = chunk.slots + 1
    assert chunk.claim()
    cluster.run(place["flink_job_id"])
    operation.record("start", "submitted", transition=Columns({**place, "phase": "running"}))
    assert chunk.start()


@pytest.mark.parametrize(
    ("state", "tasks", "phase", "is_kept"),
    [
        ("RUNNING", (1, 0), "running", False),
        ("RUNNING", (0, 0), "running", True),
        ("RUNNING", (0, 1), "running", False),
        ("RESTARTING", (0, 0), "running", True),
        ("FAILED", (0, 0), "running", True),
        (None, (0, 0), "running", True),
        ("FINISHED", (0, 1), "running", False),
        (None, (0, 0), "suspended", False),
    ],
)
def test_last_slots_are_reserved_for_a_live_job_that_lost_its_own(cluster, state, tasks, phase, is_kept):
    """A TaskManager was lost, or the whole cluster: live jobs get their slots first."""
    chunk, live = cluster.chunk(), "f" * 32
    cluster.slots = chunk.slots
    place = {"release": 1, "flink_job_id": live, "phase": phase}
    cluster.ledger.begin("counts", kind="deploy", holder="me", release=1).record(
        "start", "submitted", transition=Columns(place)
    )
    if state is not None:
        cluster.states[live], cluster.tasks[live] = state, tasks
    assert chunk.claim() != is_kept


def test_chunk_is_queued_again_if_its_slots_are_taken_while_it_compiles(cluster, monkeypatch):
    chunk = cluster.chunk()
    assert chunk.claim()
    cluster.slots = 0
    monkeypatch.setattr("sluice.replay.chunk._SLOT_TIMEOUT", 0.0)
    assert chunk.start() is None
    assert cluster.logged[-1] == "counts.replay.abcdefgh.1 takes 1 task slots, 0 are free: it is queued again"
    assert (cluster.states, cluster.row().state, cluster.row().attempt) == ({}, "waiting", 0)
    cluster.slots = 1
    assert chunk.claim()
    assert chunk.start() in cluster.alive()


def test_chunk_fails_if_its_input_was_deleted_after_planning(cluster):
    cluster.brokers.ends["lines", 0] = Offsets(101, 1_000)
    chunk = cluster.chunk()
    assert chunk.claim()
    with pytest.raises(OperationError, match=r"lines\[0\] has deleted its records before offset 101"):
        chunk.start()
    assert (cluster.states, cluster.row().state) == ({}, "failed")


def test_chunk_fails_if_its_input_was_deleted_while_it_ran(cluster):
    chunk = cluster.chunk()
    assert chunk.claim()
    job = chunk.start()
    cluster.brokers.ends["lines", 0] = Offsets(101, 1_000)
    with pytest.raises(OperationError, match="since the replay was planned"):
        chunk.conclude(job, ChunkProgress(JobState.FINISHED, 50))
    assert (cluster.row().state, cluster.row().records) == ("failed", 50)


def test_progress_estimates_the_remaining_seconds():
    progress = ChunkProgress(JobState.RUNNING, 250)
    assert progress.seconds_left(1_000, 10.0) == 30.0
    assert progress.describe(1_000, 10.0) == "250 of 1,000 records (25%), about 30 s left"
    # Transaction markers take offsets, too: a chunk may finish with fewer records than offsets.
    assert ChunkProgress(JobState.RUNNING, 1_001).seconds_left(1_000, 10.0) == 0
    assert ChunkProgress(JobState.RUNNING).describe(1_000, 10.0) == "0 of 1,000 records (0%)"


def test_cancelling_by_another_taker_waits_for_a_pending_submission(cluster):
    def submits(flink_job_id):
        cluster.arrives[flink_job_id] = 3
        cluster.chunk(taker="two").cancel()
        assert cluster.states[flink_job_id] == "CANCELED"

    cluster.submits = submits
    chunk = cluster.chunk()
    assert chunk.claim()
    with pytest.raises(OperationError, match="was cancelled before its Flink job ran"):
        chunk.start()
    assert cluster.row().state == "cancelled"


def test_cancelling_an_expired_submission_needs_no_flink_job(cluster, monkeypatch):
    chunk = cluster.chunk()
    assert chunk.claim()
    cluster.ledger.replays.submitting(cluster.plan.id, 1, "one")
    monkeypatch.setattr(SUBMITTING, timedelta(0))
    chunk.cancel()
    assert cluster.row().state == "cancelled"


def test_late_submission_is_cancelled_if_another_taker_has_the_chunk(cluster, monkeypatch):
    """Its submission took longer than other takers wait for."""

    def submits(flink_job_id):
        monkeypatch.setattr(SUBMITTING, timedelta(0))
        assert cluster.chunk(taker="two").claim()
        cluster.run(flink_job_id)

    cluster.submits = submits
    chunk = cluster.chunk()
    assert chunk.claim()
    with pytest.raises(OperationError, match="was cancelled before its Flink job ran"):
        chunk.start()
    assert cluster.alive() == []
    assert (cluster.row().state, cluster.row().taker) == ("starting", "two")


@pytest.mark.parametrize("silent", [True, False])
def test_chunk_of_a_former_cluster_is_neither_restarted_nor_cancelled(cluster, monkeypatch, silent):
    """The environment names another cluster now; the chunk runs on the former one, or that one does not answer."""
    chunk = cluster.chunk()
    flink_job_id = chunk.begin()
    former, cluster.states = cluster.states, {}
    with cluster.ledger.replays._sessions.begin() as session:
        row = session.get_one(ReplayChunk, (cluster.plan.id, 1))
        row.cluster, row.began_at = {"url": "http://former"}, row.began_at - timedelta(hours=1)

    def answer(method, target, body):
        if silent:
            raise NoAnswerError("connection refused")
        if target == "/jobmanager/config":
            return 200, b'[{"key": "rest.port", "value": "8081"}]'
        return 200, json.dumps({"status": former[flink_job_id]}).encode()

    cluster.others = lambda url: FlinkClient(url, exchange=answer, pauses=())
    words = "can't be asked whether" if silent else "it is RUNNING there"
    for doing in (chunk.begin, chunk.cancel):
        with pytest.raises(RefusedError, match=words) as refused:
            doing()
        assert "--cancel" in refused.value.remedy
    assert (cluster.row().state, cluster.states) == ("running", {})
    if not silent:
        with pytest.raises(RefusedError, match="it is RUNNING there"):
            chunk.cancel(confirms_loss=True)
        former[flink_job_id] = "CANCELED"
    chunk.cancel(confirms_loss=True)
    assert cluster.row().state == "cancelled"
