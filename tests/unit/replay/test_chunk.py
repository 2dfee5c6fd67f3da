"""A chunk is one Flink job, whoever takes it and whatever is lost on the way to the cluster."""

import json
from datetime import timedelta

import pytest

from sluice.errors import OperationError, RefusedError, UnreachableError
from sluice.flink.client import FlinkClient
from sluice.flink.exchange import NoAnswerError
from sluice.flink.models import JobState
from sluice.kafka.offsets import Offsets
from sluice.ledger.replay_tables import ReplayChunk
from sluice.replay.chunk import Progress
from tests.support.placing import Columns
from tests.unit.replay.clustered import Clustered

SUBMITTING = "sluice.ledger.chunk_scheduling.SUBMITTING"


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    return Clustered(tmp_path, monkeypatch)


@pytest.mark.parametrize("taker", ["two", "one"], ids=["another", "a retry of the same task"])
def test_a_submission_on_its_way_is_no_second_ones_to_begin(cluster, taker):
    second = cluster.chunk(taker=taker)

    def submits(flink_job_id):
        assert second.find() is None
        assert not second.take()
        cluster.run(flink_job_id)

    cluster.submits = submits
    one = cluster.chunk()
    assert one.take()
    flink_job_id = one.start()
    assert not second.take()
    assert second.find() == flink_job_id
    assert (cluster.alive(), cluster.row().attempt) == ([flink_job_id], 1)


def test_what_never_came_to_the_cluster_is_begun_again_by_the_same_taker(cluster, monkeypatch):
    first = cluster.chunk()
    assert first.take()
    # It dies before anything is sent.
    cluster.ledger.replays.submitting(cluster.plan.id, 1, "one")
    again = cluster.chunk()
    assert not again.take()
    monkeypatch.setattr(SUBMITTING, timedelta(0))
    assert again.find() is None
    assert again.take()
    flink_job_id = again.start()
    assert cluster.alive() == [flink_job_id]


def test_an_answer_that_is_lost_is_waited_for_at_the_cluster(cluster):
    def submits(flink_job_id):
        cluster.arrives[flink_job_id] = 3
        raise OperationError("the client died")

    cluster.submits = submits
    chunk = cluster.chunk()
    assert chunk.take()
    flink_job_id = chunk.start()
    assert (cluster.alive(), cluster.row().state) == ([flink_job_id], "running")


def test_what_has_not_come_to_the_cluster_in_time_has_failed(cluster, monkeypatch):
    monkeypatch.setattr(SUBMITTING, timedelta(seconds=0.2))
    asked = []

    def submits(flink_job_id):
        asked.append(flink_job_id)
        raise OperationError("the client died")

    cluster.submits = submits
    chunk = cluster.chunk()
    assert chunk.take()
    with pytest.raises(OperationError, match="the client died"):
        chunk.start()
    assert (cluster.row().state, cluster.row().reason) == ("failed", "the client died")
    # The next attempt needn't wait.
    cluster.submits = cluster.run
    assert chunk.take()
    assert chunk.start() not in asked


def test_a_cluster_that_does_not_answer_after_a_submission_says_nothing_about_it(cluster):
    def submits(flink_job_id):
        cluster.run(flink_job_id)
        cluster.silent = 1
        raise OperationError("the client died")

    cluster.submits = submits
    chunk = cluster.chunk()
    assert chunk.take()
    with pytest.raises(UnreachableError):
        chunk.start()
    assert cluster.row().state == "running"
    assert chunk.find() == cluster.alive()[0]


def test_what_is_cancelled_while_it_is_submitted_is_ended_once_it_is_there(cluster):
    """As by a signal, in the process that submits: nothing is recorded before it is so."""
    chunk = cluster.chunk()

    def submits(flink_job_id):
        chunk.cancel()
        assert cluster.row().state == "running"
        cluster.run(flink_job_id)

    cluster.submits = submits
    assert chunk.take()
    with pytest.raises(OperationError, match="was called off"):
        chunk.start()
    assert (list(cluster.states.values()), cluster.row().state) == (["CANCELED"], "cancelled")
    # And may be begun again.
    cluster.submits = cluster.run
    assert chunk.take()
    assert cluster.states[chunk.start()] == "RUNNING"


def test_a_run_that_ends_during_a_submission_ends_the_job(cluster):
    chunk, ended = cluster.chunk(), []
    cluster.submits = lambda flink_job_id: (ended.append(1), cluster.run(flink_job_id))
    assert chunk.take()
    with pytest.raises(OperationError, match="was called off"):
        chunk.start(lambda: bool(ended))
    assert cluster.alive() == []


def test_it_waits_for_slots_and_takes_none_that_a_job_is_about_to_need(cluster):
    """It would get those that a live job leaves while its next release takes its place."""
    chunk = cluster.chunk()
    cluster.slots = chunk.slots - 1
    assert not chunk.take()
    cluster.slots = chunk.slots
    operation = cluster.ledger.begin("counts", kind="deploy", holder="me", release=1)
    place = {"release": 1, "flink_job_id": "f" * 32}
    operation.record("stop", "stopped", transition=Columns({**place, "phase": "stopped"}))
    assert not chunk.take()
    assert chunk.waits_for == (
        "counts.replay.abcdefgh.1 waits for its turn: it takes 1 task slots, 1 are free, and spoken for: 1 for counts; "
        "other chunks that run or are being started: 0 of 2 in this replay, 0 of 4 in all of the job's"
    )
    # One that stays stopped keeps what it needs, and nobody waits for it.
    cluster.slots = chunk.slots + 1
    assert chunk.take()
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
def test_the_last_slots_are_for_a_live_job_that_has_lost_its_own(cluster, state, tasks, phase, is_kept):
    """A TaskManager was lost, or the whole cluster: what is live comes first."""
    chunk, live = cluster.chunk(), "f" * 32
    cluster.slots = chunk.slots
    place = {"release": 1, "flink_job_id": live, "phase": phase}
    cluster.ledger.begin("counts", kind="deploy", holder="me", release=1).record(
        "start", "submitted", transition=Columns(place)
    )
    if state is not None:
        cluster.states[live], cluster.tasks[live] = state, tasks
    assert chunk.take() != is_kept


def test_slots_that_a_job_has_come_to_need_while_the_chunk_was_compiled_are_left_to_it(cluster, monkeypatch):
    chunk = cluster.chunk()
    assert chunk.take()
    cluster.slots = 0
    monkeypatch.setattr("sluice.replay.chunk._ROOM", 0.0)
    assert chunk.start() is None
    assert cluster.told[-1] == "counts.replay.abcdefgh.1 takes 1 task slots, 0 are free: it waits for its turn again"
    assert (cluster.states, cluster.row().state, cluster.row().attempt) == ({}, "waiting", 0)
    cluster.slots = 1
    assert chunk.take()
    assert chunk.start() in cluster.alive()


def test_what_was_deleted_since_it_was_planned_is_not_replayed(cluster, monkeypatch):
    monkeypatch.setattr("sluice.replay.chunk.read_offsets", lambda *_arguments: {("lines", 0): Offsets(101, 1_000)})
    chunk = cluster.chunk()
    assert chunk.take()
    with pytest.raises(OperationError, match=r"lines\[0\] has deleted its records before offset 101"):
        chunk.start()
    assert (cluster.states, cluster.row().state) == ({}, "failed")


def test_what_was_deleted_while_it_ran_fails_it(cluster, monkeypatch):
    chunk = cluster.chunk()
    assert chunk.take()
    job = chunk.start()
    monkeypatch.setattr("sluice.replay.chunk.read_offsets", lambda *_arguments: {("lines", 0): Offsets(101, 1_000)})
    with pytest.raises(OperationError, match="since the replay was planned"):
        chunk.conclude(job, Progress(JobState.FINISHED, 50))
    assert (cluster.row().state, cluster.row().records) == ("failed", 50)


def test_progress_says_how_long_the_rest_takes():
    progress = Progress(JobState.RUNNING, 250)
    assert progress.seconds_left(1_000, 10.0) == 30.0
    assert progress.describe(1_000, 10.0) == "250 of 1,000 records (25%), about 30 s left"
    # Markers of transactions take offsets, too: it may be done before it has read as many.
    assert Progress(JobState.RUNNING, 1_001).seconds_left(1_000, 10.0) == 0
    assert Progress(JobState.RUNNING).describe(1_000, 10.0) == "0 of 1,000 records (0%)"


def test_another_one_that_cancels_waits_for_what_is_on_its_way(cluster):
    def submits(flink_job_id):
        cluster.arrives[flink_job_id] = 3
        cluster.chunk(taker="two").cancel()
        assert cluster.states[flink_job_id] == "CANCELED"

    cluster.submits = submits
    chunk = cluster.chunk()
    assert chunk.take()
    with pytest.raises(OperationError, match="was called off"):
        chunk.start()
    assert cluster.row().state == "cancelled"


def test_what_can_not_come_any_more_has_ended(cluster, monkeypatch):
    chunk = cluster.chunk()
    assert chunk.take()
    cluster.ledger.replays.submitting(cluster.plan.id, 1, "one")
    monkeypatch.setattr(SUBMITTING, timedelta(0))
    chunk.cancel()
    assert cluster.row().state == "cancelled"


def test_a_job_whose_chunk_is_anothers_by_then_is_ended(cluster, monkeypatch):
    """Its submission took longer than anybody waits for."""

    def submits(flink_job_id):
        monkeypatch.setattr(SUBMITTING, timedelta(0))
        assert cluster.chunk(taker="two").take()
        cluster.run(flink_job_id)

    cluster.submits = submits
    chunk = cluster.chunk()
    assert chunk.take()
    with pytest.raises(OperationError, match="was called off"):
        chunk.start()
    assert cluster.alive() == []
    assert (cluster.row().state, cluster.row().taker) == ("starting", "two")


@pytest.mark.parametrize("silent", [True, False])
def test_chunk_of_another_cluster_is_neither_started_again_nor_taken_for_cancelled(cluster, monkeypatch, silent):
    """The environment names another cluster by now; on the former one the chunk runs, or that can't be told."""
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

    cluster.project.flink_at = lambda url: FlinkClient(url, exchange=answer)
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
