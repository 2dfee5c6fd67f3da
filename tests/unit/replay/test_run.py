"""A whole replay in one process: retries, cancelling and the report."""

from dataclasses import replace
from datetime import date, timedelta
from threading import Event

import pytest

from sluice.cli.replay import cancel_backfill
from sluice.errors import OperationError, RefusedError, UnreachableError
from sluice.kafka.offsets import Offsets
from sluice.replay import run
from sluice.replay.model import ReplayRequest
from sluice.replay.run import cancel_abandoned, cancel_chunks, cancel_replay
from sluice.replay.slots import OutageTimeout
from tests.unit.replay.replayed import SOURCE, Replayed


@pytest.fixture
def replayed(simulated):
    return Replayed(simulated)


def begin(replayed, *numbers):
    """Start these chunks; their Flink jobs."""
    begun = []
    for number in numbers:
        chunk = replayed.chunk(number, taker=f"one/{number}")
        assert chunk.claim()
        begun.append(chunk.start())
    return begun


@pytest.mark.parametrize(
    "end",
    [
        lambda replayed, replay: cancel_replay(replayed.project, replay, replayed.logged.append),
        lambda replayed, replay: cancel_chunks(replayed.project, replay, "one/", replayed.logged.append),
    ],
    ids=["the replay", "the chunks of a run"],
)
def test_a_chunk_that_does_not_end_does_not_keep_others_running(replayed, end):
    first, second = begin(replayed, 1, 2)
    replayed.cluster.never_end.add(first)
    replay = replayed.ledger.replays.find(replayed.plan.id)
    with pytest.raises(OperationError, match=r"1 of 2 chunks could not be cancelled: counts.replay.abcdefgh.1 may"):
        end(replayed, replay)
    assert replayed.states == {first: "CANCELLING", second: "CANCELED"}
    assert [replayed.row(number).state for number in (1, 2)] == ["running", "cancelled"]
    replayed.cluster.states[first] = "CANCELED"
    end(replayed, replay)
    assert replayed.row(1).state == "cancelled"
    assert cancel_abandoned(replayed.project, lambda _taker: True, replayed.logged.append) == []


def begin_again(replayed, **more):
    request = replace(ReplayRequest(replayed.plan.start, replayed.plan.end), **more)
    return run.begin_replay(replayed.project, "counts", request, "one", None, replayed.logged.append)


def test_a_cleared_run_resumes_its_replay(replayed):
    (job,) = begin(replayed, 1)
    replayed.ledger.replays.ended(replayed.plan.id, "failed")
    again = begin_again(replayed)
    assert (again.id, again.outcome) == (replayed.plan.id, None)
    assert replayed.running_jobs() == [job]


def test_a_cleared_run_plans_again_if_another_release_runs(replayed):
    """Chunks that another release ran are of no use."""
    begin(replayed, 1)
    replayed.simulated.deploy(overrides={"least": 1})
    replayed.live = replayed.simulated.place.flink_job_id
    again = begin_again(replayed)
    assert (again.id != replayed.plan.id, again.release) == (True, 2)
    assert replayed.ledger.replays.find(replayed.plan.id).outcome == "cancelled"
    assert replayed.running_jobs() == []
    assert any("is cancelled: the request has changed" in line for line in replayed.logged)


def test_another_request_of_the_same_holder_is_another_replay(replayed):
    replayed.ledger.replays.ended(replayed.plan.id, "cancelled")
    begun = begin_again(replayed)
    assert begun.id != replayed.plan.id
    assert begin_again(replayed).id == begun.id
    # Neither the parallelism nor the permission to overwrite live rows changes the rows.
    assert begin_again(replayed, parallel=2, accept_differences=True).id == begun.id
    assert begin_again(replayed, accept_missing=True).id != begun.id


MORE_SETTINGS = """
    window: timedelta | str = ""
    types: tuple = ()
    since: date | str = ""
"""


@pytest.mark.parametrize(
    "settings",
    [{"window": timedelta(minutes=2)}, {"types": ("a", "b")}, {"since": date(2026, 1, 31)}, {"window": "2min"}],
)
def test_a_retry_with_the_same_settings_resumes_its_replay(replayed, settings):
    """Whatever types they have; otherwise the retry would cancel its own replay."""
    text = SOURCE.replace("import datetime", "import date, datetime, timedelta")
    replayed.simulated.rewrite(text.replace("    least:", f"{MORE_SETTINGS}    least:"))
    replayed.ledger.replays.ended(replayed.plan.id, "cancelled")
    first, second = (begin_again(replayed, overrides=settings).id for _ in range(2))
    assert first == second != replayed.plan.id
    assert replayed.ledger.replays.find(first).outcome is None


SILENT, LOST = UnreachableError("kafka does not answer"), OperationError("lost")


def run_first(replayed, *outcomes):
    """Run the first chunk, whose attempts fail so: by the brokers, or by the submission; None: it finishes."""
    replayed.cluster.run_time = 5.0
    replayed.brokers.errors = [None if outcome is LOST else outcome for outcome in outcomes]
    replayed.cluster.submit_errors = [outcome for outcome in outcomes if outcome is LOST]
    run._run(replayed.project, replayed.chunk(), replayed.logged.append, Event())
    assert replayed.row().state == "finished"


def test_an_outage_of_the_brokers_costs_no_attempt(replayed):
    outage = [SILENT] * 7
    run_first(replayed, *outage, LOST, *outage, LOST)
    assert (replayed.brokers.errors, replayed.row().attempt) == ([], 3)


def test_an_outage_that_lasts_too_long_ends_the_chunk(replayed):
    with pytest.raises(UnreachableError):
        run_first(replayed, *[SILENT] * 100)
    assert 600 <= replayed.clock.waited < 700


def test_an_answer_restarts_the_outage_timeout(replayed):
    """Two outages of more than ten minutes together, with an answer between them, are timed separately."""
    outage = [SILENT] * 40
    run_first(replayed, *outage, LOST, *outage)
    assert replayed.clock.waited > 800


def begin_or_wait(replayed, chunk):
    return run._begin(replayed.clock, chunk, replayed.logged.append, Event(), OutageTimeout(1, replayed.clock))


def test_a_chunk_finished_by_another_taker_is_not_started(replayed):
    two = replayed.chunk(taker="two")
    assert two.claim()
    flink_job_id = two.start()
    replayed.cluster.states[flink_job_id] = "FINISHED"
    replayed.ledger.replays.chunk_ended(replayed.plan.id, 1, "finished", flink_job_id=flink_job_id)
    assert begin_or_wait(replayed, replayed.chunk()) is None
    assert (replayed.row().state, replayed.row().attempt) == ("finished", 1)


def test_waiting_for_slots_costs_no_attempt(replayed):
    """The slots are free at the claim, and twice taken while the chunk is compiled."""
    cluster, compiler, taken = replayed.cluster, replayed.simulated.compiler, [1, 2]

    def take_slots():
        cluster.free_slots = 0

    def log(line):
        if "it is queued again" in line:
            cluster.free_slots = 1
            taken.pop()
            compiler.during_compile = take_slots if taken else None

    compiler.during_compile = take_slots
    assert begin_or_wait(replayed, replayed.chunk(log=log)) in replayed.running_jobs()
    assert (replayed.row().attempt, taken) == (1, [])


def finish_chunks(replayed):
    for number in (1, 2):
        chunk = replayed.chunk(number)
        assert chunk.claim()
        replayed.ledger.replays.chunk_ended(replayed.plan.id, number, "finished", flink_job_id=chunk.start())


def test_a_failed_report_fails_the_replay_and_a_second_one_completes_it(replayed):
    replay, replays = replayed.ledger.replays.find(replayed.plan.id), replayed.ledger.replays
    finish_chunks(replayed)
    output = replayed.plan.outputs["counts"]
    replayed.brokers.ends |= {(output, 0): Offsets(0, 5), (output, 1): Offsets(0, 7)}
    replayed.brokers.errors = [UnreachableError("no answer")]
    with pytest.raises(UnreachableError):
        run.finish_replay(replayed.project, replay, replayed.logged.append)
    assert replays.find(replay.id).outcome == "failed"
    first = run.finish_replay(replayed.project, replay, replayed.logged.append)
    assert replays.find(replay.id).outcome == "completed"
    # Rows that others wrote there later don't belong to the replay.
    replayed.brokers.ends |= {(output, 0): Offsets(0, 50)}
    second = run.finish_replay(replayed.project, replay, replayed.logged.append)
    assert first["output_ends"] == second["output_ends"] == {"counts": {0: 5, 1: 7}}


def test_anyone_may_cancel_a_replay_that_has_not_completed(replayed):
    (job,) = begin(replayed, 1)
    cancel_backfill(replayed.project, "counts", replayed.plan.id[:8], json=False)
    assert (replayed.states[job], replayed.ledger.replays.find(replayed.plan.id).outcome) == ("CANCELED", "cancelled")
    replayed.ledger.replays.reopen(replayed.plan.id, "another")
    replayed.ledger.replays.ended(replayed.plan.id, "completed", {})
    with pytest.raises(RefusedError, match="has completed and can't be cancelled"):
        cancel_backfill(replayed.project, "counts", replayed.plan.id[:8], json=False)


def test_run_of_a_cancelled_replay_ends_without_retries(replayed):
    replayed.ledger.replays.ended(replayed.plan.id, "cancelled")
    with pytest.raises(RefusedError, match="was cancelled"):
        run.run_chunks(replayed.project, replayed.ledger.replays.find(replayed.plan.id), replayed.logged.append)
    assert not [line for line in replayed.logged if "attempt" in line]


class LaterEvent(Event):
    """An event that is set after its state was read so many times."""

    def __init__(self, times):
        super().__init__()
        self.times = times

    def is_set(self):
        self.times -= 1
        return self.times < 0


def test_interrupted_before_the_first_reading_the_chunk_can_be_cancelled(replayed):
    # Its state is read in the queue, three times until the submission, and after it.
    stop = LaterEvent(5)
    run._try(replayed.project, replayed.chunk(), replayed.logged.append, stop, OutageTimeout(1, replayed.clock))
    assert (replayed.row().state, len(replayed.running_jobs())) == ("running", 1)
    cancel_replay(replayed.project, replayed.ledger.replays.find(replayed.plan.id), replayed.logged.append)
    assert replayed.running_jobs() == []


def test_a_replay_cancelled_during_its_report_does_not_complete(replayed):
    replays = replayed.ledger.replays
    finish_chunks(replayed)

    def cancel(_group, _offsets):
        replays.ended(replayed.plan.id, "cancelled")
        return iter(())

    replayed.brokers.ends[replayed.plan.outputs["counts"], 0] = Offsets(0, 5)
    replayed.brokers.messages = cancel
    with pytest.raises(RefusedError, match="was cancelled"):
        run.finish_replay(replayed.project, replays.find(replayed.plan.id), replayed.logged.append)
    assert replays.find(replayed.plan.id).outcome == "cancelled"


def test_a_replay_resumed_by_another_holder_survives_its_first_holder(replayed):
    """It is queued: no Flink job of it runs yet."""
    replayed.ledger.replays.ended(replayed.plan.id, "failed")
    run.resume_replay(replayed.project, "counts", replayed.plan.id[:8], "two")
    assert cancel_abandoned(replayed.project, lambda holder: holder == "one", replayed.logged.append) == []
    assert replayed.ledger.replays.find(replayed.plan.id).outcome is None
    cancel_abandoned(replayed.project, lambda holder: holder == "two", replayed.logged.append)
    assert replayed.ledger.replays.find(replayed.plan.id).outcome == "failed"


def test_a_chunk_is_tried_three_times_and_a_refused_one_once(replayed):
    with pytest.raises(OperationError, match="lost"):
        run_first(replayed, *[LOST] * 4)
    assert (replayed.cluster.submit_errors, replayed.row().attempt) == ([LOST], 3)
    with pytest.raises(RefusedError):
        run_first(replayed, RefusedError("no"))
    assert replayed.row().attempt == 3


def test_a_replay_left_unfinished_by_its_run_has_failed(replayed):
    replay = replayed.ledger.replays.find(replayed.plan.id)
    assert cancel_chunks(replayed.project, replay, "one/", replayed.logged.append) == []
    assert replayed.ledger.replays.find(replay.id).outcome == "failed"
