"""A chunk is one Flink job, whoever takes it and whatever is lost on the way to the cluster."""

from datetime import timedelta

import pytest

from sluice.errors import OperationError, UnreachableError
from tests.unit.replay.clustered import Clustered

SUBMITTING = "sluice.release.replays.SUBMITTING"


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
    operation.record("stop", "stopped", place={**place, "phase": "stopped"})
    assert not chunk.take()
    operation.record("start", "submitted", place={**place, "phase": "running"})
    assert chunk.take()


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
