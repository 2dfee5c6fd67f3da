"""A whole replay in one process: retries, cancelling and the report."""

from dataclasses import replace
from datetime import date, timedelta
from threading import Event
from types import SimpleNamespace

import pytest

from sluice.cli.replay import cancel_backfill
from sluice.errors import OperationError, RefusedError, UnreachableError
from sluice.replay import run
from sluice.replay.chunk import Chunk
from sluice.replay.model import ReplayRequest
from sluice.replay.run import cancel_abandoned, cancel_chunks, cancel_replay
from sluice.replay.slots import OutageTimeout
from tests.unit.replay.clustered import Clustered
from tests.unit.replay.plans import plan


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.setattr("sluice.replay.chunk._CANCEL_TIMEOUT", 0.0)
    return Clustered(tmp_path, monkeypatch)


def begin(cluster, *numbers):
    """Start these chunks; their Flink jobs."""
    begun = []
    for number in numbers:
        chunk = cluster.chunk(number, taker=f"one/{number}")
        assert chunk.claim()
        begun.append(chunk.start())
    return begun


@pytest.mark.parametrize(
    "end",
    [
        lambda cluster, replay: cancel_replay(cluster.project, replay, cluster.logged.append),
        lambda cluster, replay: cancel_chunks(cluster.project, replay, "one/", cluster.logged.append),
    ],
    ids=["the replay", "the chunks of a run"],
)
def test_a_chunk_that_does_not_end_does_not_keep_others_running(cluster, end):
    first, second = begin(cluster, 1, 2)
    cluster.undying.add(first)
    replay = cluster.ledger.replays.find(cluster.plan.id)
    with pytest.raises(OperationError, match=r"1 of 2 chunks could not be cancelled: counts.replay.abcdefgh.1 may"):
        end(cluster, replay)
    assert cluster.states == {first: "CANCELLING", second: "CANCELED"}
    assert [cluster.row(number).state for number in (1, 2)] == ["running", "cancelled"]
    cluster.states[first] = "CANCELED"
    end(cluster, replay)
    assert cluster.row(1).state == "cancelled"
    assert cancel_abandoned(cluster.project, lambda _taker: True, cluster.logged.append) == []


@pytest.fixture
def planned(cluster, monkeypatch):
    """`plan` is what `plan_replay` returns; `place.release` is the release that runs now."""
    planned = SimpleNamespace(plan=plan(id="b" * 32, output="other"), logged=cluster.logged)
    monkeypatch.setattr(run, "plan_replay", lambda *_arguments: planned.plan)
    place = SimpleNamespace(release=cluster.plan.release)
    replayed = "sluice.replay.preflight.find_release"
    monkeypatch.setattr(replayed, lambda *_arguments: SimpleNamespace(number=place.release))
    planned.place = place
    return planned


def begin_again(cluster, **more):
    request = replace(ReplayRequest(cluster.plan.start, cluster.plan.end), **more)
    return run.begin_replay(cluster.project, "counts", request, "one", None, cluster.logged.append)


def test_a_cleared_run_resumes_its_replay(cluster, planned):
    (job,) = begin(cluster, 1)
    cluster.ledger.replays.ended(cluster.plan.id, "failed")
    again = begin_again(cluster)
    assert (again.id, again.outcome) == (cluster.plan.id, None)
    assert cluster.alive() == [job]


def test_a_cleared_run_plans_again_if_another_release_runs(cluster, planned):
    """Chunks that another release ran are of no use."""
    begin(cluster, 1)
    planned.place.release += 1
    again = begin_again(cluster)
    assert again.id == planned.plan.id
    assert cluster.ledger.replays.find(cluster.plan.id).outcome == "cancelled"
    assert cluster.alive() == []
    assert any("is cancelled: the request has changed" in line for line in cluster.logged)


def test_another_request_of_the_same_holder_is_another_replay(cluster, planned):
    first = ReplayRequest(cluster.plan.start, cluster.plan.end).as_json()
    planned.plan = plan(id="c" * 32, output="other", release=cluster.plan.release, asked=first)
    cluster.ledger.replays.ended(cluster.plan.id, "cancelled")
    begun = begin_again(cluster)
    assert begun.id == "c" * 32
    assert begin_again(cluster).id == begun.id
    # Neither the parallelism nor the permission to overwrite live rows changes the rows.
    assert begin_again(cluster, parallel=2, accept_differences=True).id == begun.id
    planned.plan = plan(id="d" * 32, output="other", release=cluster.plan.release)
    assert begin_again(cluster, accept_missing=True).id == "d" * 32


@pytest.mark.parametrize(
    "settings",
    [{"window": timedelta(minutes=2)}, {"types": ("a", "b")}, {"since": date(2026, 1, 31)}, {"window": "2min"}],
)
def test_a_retry_with_the_same_settings_resumes_its_replay(cluster, planned, settings):
    """Whatever types they have; otherwise the retry would cancel its own replay."""
    request = ReplayRequest(cluster.plan.start, cluster.plan.end, overrides=settings)
    planned.plan = plan(id="c" * 32, output="other", release=cluster.plan.release, asked=request.as_json())
    cluster.ledger.replays.ended(cluster.plan.id, "cancelled")
    assert [begin_again(cluster, overrides=settings).id for _ in range(2)] == ["c" * 32] * 2
    assert cluster.ledger.replays.find("c" * 32).outcome is None


@pytest.fixture
def quick(monkeypatch):
    for name in ("_PAUSE", "_QUEUE_PAUSE"):
        monkeypatch.setattr(run, name, 0.0)


def run_first(cluster, monkeypatch, *outcomes):
    """Run the first chunk, whose attempts have these outcomes; the number of attempts."""
    left = list(outcomes)

    def attempt(*_arguments):
        if isinstance(outcome := left.pop(0), Exception):
            raise outcome

    monkeypatch.setattr(run, "_try", attempt)
    run._run(cluster.project, cluster.chunk(), cluster.logged.append, Event())
    return len(outcomes) - len(left)


def test_an_outage_of_the_brokers_costs_no_attempt(cluster, monkeypatch, quick):
    silent = [UnreachableError("kafka does not answer")] * 7
    lost = OperationError("lost")
    assert run_first(cluster, monkeypatch, *silent, lost, *silent, lost, None) == 17
    monkeypatch.setattr(run, "_OUTAGE_TIMEOUT", -1.0)
    with pytest.raises(UnreachableError):
        run_first(cluster, monkeypatch, *silent, None)


def test_an_answer_restarts_the_outage_timeout(cluster, monkeypatch, quick):
    """Two outages with an answer between them are timed separately."""
    silent, clock = UnreachableError("kafka does not answer"), [0.0]
    monkeypatch.setattr("sluice.replay.slots.time", SimpleNamespace(monotonic=lambda: clock[0]))

    def attempt(_project, _chunk, _log, _stop, outage):
        clock[0] += 500
        if clock[0] in (500, 2_500):
            raise silent
        outage.answered()
        if clock[0] < 2_500:
            raise OperationError("lost")

    monkeypatch.setattr(run, "_try", attempt)
    monkeypatch.setattr(run, "_ATTEMPTS", 9)
    run._run(cluster.project, cluster.chunk(), cluster.logged.append, Event())
    assert clock[0] == 3_000


def test_a_chunk_finished_by_another_taker_is_not_started(cluster, quick):
    two = cluster.chunk(taker="two")
    assert two.claim()
    flink_job_id = two.start()
    cluster.states[flink_job_id] = "FINISHED"
    cluster.ledger.replays.chunk_ended(cluster.plan.id, 1, "finished", flink_job_id=flink_job_id)
    assert run._begin(cluster.chunk(), cluster.logged.append, Event(), OutageTimeout(1)) is None
    assert (cluster.row().state, cluster.row().attempt) == ("finished", 1)


def test_waiting_for_slots_costs_no_attempt(cluster, monkeypatch, quick):
    monkeypatch.setattr("sluice.replay.chunk._SLOT_TIMEOUT", 0.0)
    chunk, claim = cluster.chunk(), Chunk.claim
    given = iter([0, 0, 1])

    def claims(self):
        """The slots are free at the claim, and taken when the chunk is compiled."""
        cluster.slots = 1
        claimed = claim(self)
        cluster.slots = next(given)
        return claimed

    monkeypatch.setattr(Chunk, "claim", claims)
    assert run._begin(chunk, cluster.logged.append, Event(), OutageTimeout(1)) in cluster.alive()
    assert cluster.row().attempt == 1


def test_a_failed_report_fails_the_replay_and_a_second_one_completes_it(cluster, monkeypatch):
    def fails(*_arguments):
        raise UnreachableError("no answer")

    replay, replays = cluster.ledger.replays.find(cluster.plan.id), cluster.ledger.replays
    for number in (1, 2):
        chunk = cluster.chunk(number)
        assert chunk.claim()
        replays.chunk_ended(replay.id, number, "finished", flink_job_id=chunk.start())
    monkeypatch.setattr(run, "output_ends", fails)
    with pytest.raises(UnreachableError):
        run.finish_replay(cluster.project, replay, cluster.logged.append)
    assert replays.find(replay.id).outcome == "failed"
    ends, asked = {"counts": {0: 5, 1: 7}}, []
    monkeypatch.setattr(run, "output_ends", lambda *_arguments: ends)
    monkeypatch.setattr(run, "refuse_expired", lambda *_arguments: None)
    monkeypatch.setattr(run, "_report", lambda *given: asked.append(given[3]) or {"rows": 3, "output_ends": given[3]})
    run.finish_replay(cluster.project, replay, cluster.logged.append)
    assert replays.find(replay.id).outcome == "completed"
    # Rows that others wrote there later don't belong to the replay.
    monkeypatch.setattr(run, "output_ends", fails)
    run.finish_replay(cluster.project, replay, cluster.logged.append)
    assert asked == [ends, ends]


def test_anyone_may_cancel_a_replay_that_has_not_completed(cluster):
    (job,) = begin(cluster, 1)
    cancel_backfill(cluster.project, "counts", cluster.plan.id[:8], json=False)
    assert (cluster.states[job], cluster.ledger.replays.find(cluster.plan.id).outcome) == ("CANCELED", "cancelled")
    cluster.ledger.replays.reopen(cluster.plan.id, "another")
    cluster.ledger.replays.ended(cluster.plan.id, "completed", {})
    with pytest.raises(RefusedError, match="has completed and can't be cancelled"):
        cancel_backfill(cluster.project, "counts", cluster.plan.id[:8], json=False)


def test_run_of_a_cancelled_replay_ends_without_retries(cluster, quick):
    cluster.ledger.replays.ended(cluster.plan.id, "cancelled")
    with pytest.raises(RefusedError, match="was cancelled"):
        run.run_chunks(cluster.project, cluster.ledger.replays.find(cluster.plan.id), cluster.logged.append)
    assert not [line for line in cluster.logged if "attempt" in line]


def test_interrupted_before_the_first_reading_the_chunk_can_be_cancelled(cluster, monkeypatch, quick):
    ends, chunk = Event(), cluster.chunk()
    start = chunk.start

    def starts(_ends):
        job = start()
        ends.set()
        return job

    monkeypatch.setattr(chunk, "start", starts)
    monkeypatch.setattr(chunk, "cancel", lambda: None)
    monkeypatch.setattr(ends, "is_set", iter([False, False, True, True, True]).__next__)
    run._try(cluster.project, chunk, cluster.logged.append, ends, OutageTimeout(1))
    assert (cluster.row().state, len(cluster.alive())) == ("running", 1)
    cancel_replay(cluster.project, cluster.ledger.replays.find(cluster.plan.id), cluster.logged.append)
    assert cluster.alive() == []


def test_a_replay_cancelled_during_its_report_does_not_complete(cluster, monkeypatch):
    replays = cluster.ledger.replays
    for number in (1, 2):
        chunk = cluster.chunk(number)
        assert chunk.claim()
        replays.chunk_ended(cluster.plan.id, number, "finished", flink_job_id=chunk.start())

    def report(*_arguments):
        replays.ended(cluster.plan.id, "cancelled")
        return {"rows": 3}

    monkeypatch.setattr(run, "output_ends", lambda *_arguments: {})
    monkeypatch.setattr(run, "refuse_expired", lambda *_arguments: None)
    monkeypatch.setattr(run, "_report", report)
    with pytest.raises(RefusedError, match="was cancelled"):
        run.finish_replay(cluster.project, replays.find(cluster.plan.id), cluster.logged.append)
    assert replays.find(cluster.plan.id).outcome == "cancelled"


def test_a_replay_resumed_by_another_holder_survives_its_first_holder(cluster):
    """It is queued: no Flink job of it runs yet."""
    cluster.ledger.replays.ended(cluster.plan.id, "failed")
    run.resume_replay(cluster.project, "counts", cluster.plan.id[:8], "two")
    assert cancel_abandoned(cluster.project, lambda holder: holder == "one", cluster.logged.append) == []
    assert cluster.ledger.replays.find(cluster.plan.id).outcome is None
    cancel_abandoned(cluster.project, lambda holder: holder == "two", cluster.logged.append)
    assert cluster.ledger.replays.find(cluster.plan.id).outcome == "failed"


def test_a_chunk_is_tried_three_times_and_a_refused_one_once(cluster, monkeypatch, quick):
    with pytest.raises(OperationError, match="lost"):
        run_first(cluster, monkeypatch, *[OperationError("lost")] * 3, None)
    with pytest.raises(RefusedError):
        run_first(cluster, monkeypatch, RefusedError("no"), None)


def test_a_replay_left_unfinished_by_its_run_has_failed(cluster):
    replay = cluster.ledger.replays.find(cluster.plan.id)
    assert cancel_chunks(cluster.project, replay, "one/", cluster.logged.append) == []
    assert cluster.ledger.replays.find(replay.id).outcome == "failed"
