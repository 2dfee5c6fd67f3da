"""A chunk runs as one Flink job, whichever taker starts it and whichever answer of the cluster is lost."""

import httpx
import pytest

from sluice.client.protocol import Submit
from sluice.errors import OperationError, RefusedError, UnreachableError
from sluice.flink.models import JobState
from sluice.kafka.offsets import Offsets
from sluice.ledger.chunk_scheduling import SUBMITTING
from sluice.replay.progress import ChunkProgress
from tests.support.placing import Columns
from tests.unit.replay.replayed import Replayed

LOST_ANSWER = OperationError("the client died")


@pytest.fixture
def replayed(simulated):
    return Replayed(simulated)


def no_answer():
    raise httpx.ConnectError("refused")


@pytest.mark.parametrize("taker", ["two", "one"], ids=["another", "a retry of the same task"])
def test_a_chunk_being_submitted_cannot_be_claimed_again(replayed, taker):
    second = replayed.chunk(taker=taker)

    def look(_flink_job_id):
        assert second.find() is None
        assert not second.claim()

    replayed.simulated.compiler.during_submit = look
    one = replayed.chunk()
    assert one.claim()
    flink_job_id = one.start()
    assert not second.claim()
    assert second.find() == flink_job_id
    assert (replayed.running_jobs(), replayed.row().attempt) == ([flink_job_id], 1)


def test_same_taker_restarts_a_chunk_that_never_reached_the_cluster(replayed):
    first = replayed.chunk()
    assert first.claim()
    # The process dies before it sends anything.
    replayed.ledger.replays.submitting(replayed.plan.id, 1, "one")
    again = replayed.chunk()
    assert not again.claim()
    replayed.clock.sleep(SUBMITTING.total_seconds())
    assert again.find() is None
    assert again.claim()
    flink_job_id = again.start()
    assert replayed.running_jobs() == [flink_job_id]


def test_submission_with_a_lost_answer_is_found_on_the_cluster(replayed):
    replayed.cluster.lost_answers, replayed.cluster.delivered_after = 1, 3
    chunk = replayed.chunk()
    assert chunk.claim()
    flink_job_id = chunk.start()
    assert (replayed.running_jobs(), replayed.row().state) == ([flink_job_id], "running")


def test_submission_that_does_not_arrive_in_time_fails_the_chunk(replayed):
    replayed.cluster.submit_errors = [LOST_ANSWER]
    chunk = replayed.chunk()
    assert chunk.claim()
    with pytest.raises(OperationError, match="the client died"):
        chunk.start()
    assert (replayed.row().state, replayed.row().reason) == ("failed", "the client died")
    # The next attempt starts at once.
    first = replayed.row().flink_job_id
    assert chunk.claim()
    assert chunk.start() != first


def test_chunk_stays_running_if_the_cluster_is_unreachable_after_submitting(replayed):
    replayed.cluster.lost_answers, replayed.cluster.delivered_after = 1, 0
    replayed.simulated.compiler.during_submit = lambda _id: replayed.cluster.at_request(".*", no_answer)
    chunk = replayed.chunk()
    assert chunk.claim()
    with pytest.raises(UnreachableError):
        chunk.start()
    assert replayed.row().state == "running"
    assert chunk.find() == replayed.running_jobs()[0]


def test_cancelling_during_the_submission_cancels_the_job_after_it_arrives(replayed):
    """As a signal handler does, in the process that submits: the ledger changes once the job has ended."""
    chunk = replayed.chunk()

    def cancel(_flink_job_id):
        chunk.cancel()
        assert replayed.row().state == "running"

    replayed.simulated.compiler.during_submit = cancel
    assert chunk.claim()
    with pytest.raises(OperationError, match="was cancelled before its Flink job ran"):
        chunk.start()
    assert (list(replayed.states.values()), replayed.row().state) == (["CANCELED"], "cancelled")
    # The chunk can be started again.
    assert chunk.claim()
    flink_job_id = chunk.start()
    assert replayed.states[flink_job_id] == "RUNNING"


def test_stopping_during_the_submission_cancels_the_job(replayed):
    chunk, ended = replayed.chunk(), []
    replayed.simulated.compiler.during_submit = lambda _id: ended.append(1)
    assert chunk.claim()
    with pytest.raises(OperationError, match="was cancelled before its Flink job ran"):
        chunk.start(lambda: bool(ended))
    assert replayed.running_jobs() == []


def test_chunk_waits_for_slots_and_leaves_those_reserved_for_a_live_job(replayed):
    """A live job frees its slots for a second while its next release starts."""
    chunk = replayed.chunk()
    replayed.cluster.free_slots = chunk.slots - 1
    assert not chunk.claim()
    replayed.cluster.free_slots = chunk.slots
    operation = replayed.ledger.begin("counts", kind="deploy", holder="me", release=1)
    place = {"release": 1, "flink_job_id": "f" * 32}
    operation.record("stop", "stopped", transition=Columns({**place, "phase": "stopped"}))
    assert not chunk.claim()
    assert chunk.waits_for == (
        "counts.replay.abcdefgh.1 is queued: it takes 1 task slots, 1 are free, of which reserved: 1 for counts; "
        "other chunks that run or start: 0 of 2 in this replay, 0 of 4 in all of the job's"
    )
    # A stopped job keeps its reservation, and other slots are free for the chunk.
    replayed.cluster.free_slots = chunk.slots + 1
    assert chunk.claim()
    replayed.cluster.states[place["flink_job_id"]] = "RUNNING"
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
def test_last_slots_are_reserved_for_a_live_job_that_lost_its_own(replayed, state, tasks, phase, is_kept):
    """A TaskManager was lost, or the whole cluster: live jobs get their slots first."""
    chunk, live = replayed.chunk(), "f" * 32
    replayed.cluster.free_slots = chunk.slots
    place = {"release": 1, "flink_job_id": live, "phase": phase}
    replayed.ledger.begin("counts", kind="deploy", holder="me", release=1).record(
        "start", "submitted", transition=Columns(place)
    )
    if state is not None:
        replayed.cluster.states[live], replayed.cluster.tasks[live] = state, tasks
    assert chunk.claim() != is_kept


def test_chunk_is_queued_again_if_its_slots_are_taken_while_it_compiles(replayed):
    chunk = replayed.chunk()
    assert chunk.claim()
    replayed.cluster.free_slots = 0
    assert chunk.start() is None
    assert replayed.logged[-1] == "counts.replay.abcdefgh.1 takes 1 task slots, 0 are free: it is queued again"
    assert (replayed.states, replayed.row().state, replayed.row().attempt) == ({}, "waiting", 0)
    replayed.cluster.free_slots = 1
    assert chunk.claim()
    assert chunk.start() in replayed.running_jobs()


def test_chunk_fails_if_its_input_was_deleted_after_planning(replayed):
    replayed.brokers.ends["lines", 0] = Offsets(101, 1_000)
    chunk = replayed.chunk()
    assert chunk.claim()
    with pytest.raises(OperationError, match=r"lines\[0\] has deleted its records before offset 101"):
        chunk.start()
    assert (replayed.states, replayed.row().state) == ({}, "failed")


def test_chunk_fails_if_its_input_was_deleted_while_it_ran(replayed):
    chunk = replayed.chunk()
    assert chunk.claim()
    job = chunk.start()
    replayed.brokers.ends["lines", 0] = Offsets(101, 1_000)
    with pytest.raises(OperationError, match="since the replay was planned"):
        chunk.conclude(job, ChunkProgress(JobState.FINISHED, 50))
    assert (replayed.row().state, replayed.row().records) == ("failed", 50)


def test_progress_estimates_the_remaining_seconds():
    progress = ChunkProgress(JobState.RUNNING, 250)
    assert progress.seconds_left(1_000, 10.0) == 30.0
    assert progress.describe(1_000, 10.0) == "250 of 1,000 records (25%), about 30 s left"
    # Transaction markers take offsets, too: a chunk may finish with fewer records than offsets.
    assert ChunkProgress(JobState.RUNNING, 1_001).seconds_left(1_000, 10.0) == 0
    assert ChunkProgress(JobState.RUNNING).describe(1_000, 10.0) == "0 of 1,000 records (0%)"


def test_cancelling_by_another_taker_waits_for_a_pending_submission(replayed):
    def cancel(flink_job_id):
        """Cancel it before the cluster registers the job."""
        replayed.cluster.pending, replayed.cluster.delivered_after = [Submit(flink_job_id=flink_job_id)], 3
        replayed.chunk(taker="two").cancel()
        assert replayed.states[flink_job_id] == "CANCELED"
        return True

    replayed.simulated.compiler.during_submit = cancel
    chunk = replayed.chunk()
    assert chunk.claim()
    with pytest.raises(OperationError, match="was cancelled before its Flink job ran"):
        chunk.start()
    assert replayed.row().state == "cancelled"


def test_cancelling_an_expired_submission_needs_no_flink_job(replayed):
    chunk = replayed.chunk()
    assert chunk.claim()
    replayed.ledger.replays.submitting(replayed.plan.id, 1, "one")
    replayed.clock.sleep(SUBMITTING.total_seconds())
    chunk.cancel()
    assert replayed.row().state == "cancelled"


def test_late_submission_is_cancelled_if_another_taker_has_the_chunk(replayed):
    """Its submission took longer than other takers wait for."""

    def claim(_flink_job_id):
        replayed.clock.sleep(SUBMITTING.total_seconds())
        assert replayed.chunk(taker="two").claim()

    replayed.simulated.compiler.during_submit = claim
    chunk = replayed.chunk()
    assert chunk.claim()
    with pytest.raises(OperationError, match="was cancelled before its Flink job ran"):
        chunk.start()
    assert replayed.running_jobs() == []
    assert (replayed.row().state, replayed.row().taker) == ("starting", "two")


@pytest.mark.parametrize("silent", [True, False])
def test_chunk_of_a_former_cluster_is_neither_restarted_nor_cancelled(replayed, silent):
    """The environment names another cluster now; the chunk runs on the former one, or that one does not answer."""
    flink_job_id = replayed.chunk().begin()
    replayed.simulated.move("http://other", **{"execution.checkpointing.dir": "file:///others"})
    former = replayed.cluster.others["http://flink"]
    if silent:
        replayed.cluster.others["http://flink"] = None
    replayed.clock.sleep(3_600)
    chunk = replayed.chunk()
    words = "can't be asked whether" if silent else "it is RUNNING there"
    for doing in (chunk.begin, chunk.cancel):
        with pytest.raises(RefusedError, match=words) as refused:
            doing()
        assert "--cancel" in refused.value.remedy
    assert (replayed.row().state, replayed.states) == ("running", {})
    if not silent:
        with pytest.raises(RefusedError, match="it is RUNNING there"):
            chunk.cancel(confirms_loss=True)
        former[flink_job_id] = "CANCELED"
    chunk.cancel(confirms_loss=True)
    assert replayed.row().state == "cancelled"
