"""A whole replay in one process: what it does when it is told to end."""

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
from sluice.replay.run import cancel_replay, end_abandoned, end_chunks
from sluice.replay.slots import OutageTimeout
from tests.unit.replay.clustered import Clustered
from tests.unit.replay.plans import plan


@pytest.fixture
def cluster(tmp_path, monkeypatch):
    monkeypatch.setattr("sluice.replay.chunk._CANCEL_TIMEOUT", 0.0)
    return Clustered(tmp_path, monkeypatch)


def begin(cluster, *numbers):
    """The Flink jobs of these chunks."""
    begun = []
    for number in numbers:
        chunk = cluster.chunk(number, taker=f"one/{number}")
        assert chunk.take()
        begun.append(chunk.start())
    return begun


@pytest.mark.parametrize(
    "end",
    [
        lambda cluster, replay: cancel_replay(cluster.project, replay, cluster.told.append),
        lambda cluster, replay: end_chunks(cluster.project, replay, "one/", cluster.told.append),
    ],
    ids=["the replay", "what a run has begun"],
)
def test_a_chunk_that_does_not_end_keeps_none_of_the_others(cluster, end):
    first, second = begin(cluster, 1, 2)
    cluster.undying.add(first)
    replay = cluster.ledger.replays.find(cluster.plan.id)
    with pytest.raises(OperationError, match=r"1 of 2 chunks that were to end go on: counts.replay.abcdefgh.1 was"):
        end(cluster, replay)
    assert cluster.states == {first: "CANCELLING", second: "CANCELED"}
    assert [cluster.row(number).state for number in (1, 2)] == ["running", "cancelled"]
    cluster.states[first] = "CANCELED"
    end(cluster, replay)
    assert cluster.row(1).state == "cancelled"
    assert end_abandoned(cluster.project, lambda _taker: True, cluster.told.append) == []


@pytest.fixture
def planned(cluster, monkeypatch):
    """What is planned when a replay is begun: `plan`, which is of the release that runs now."""
    planned = SimpleNamespace(plan=plan(id="b" * 32, output="other"), told=cluster.told)
    monkeypatch.setattr(run, "plan_replay", lambda *_arguments: planned.plan)
    place = SimpleNamespace(release=cluster.plan.release)
    monkeypatch.setattr("sluice.replay.preflight._release", lambda *_arguments: SimpleNamespace(number=place.release))
    planned.place = place
    return planned


def begin_again(cluster, **more):
    request = replace(ReplayRequest(cluster.plan.start, cluster.plan.end), **more)
    return run.begin_replay(cluster.project, "counts", request, "one", None, cluster.told.append)


def test_a_run_that_is_cleared_goes_on_with_its_replay(cluster, planned):
    (job,) = begin(cluster, 1)
    cluster.ledger.replays.ended(cluster.plan.id, "failed")
    again = begin_again(cluster)
    assert (again.id, again.outcome) == (cluster.plan.id, None)
    assert cluster.alive() == [job]


def test_a_run_that_is_cleared_once_its_job_was_mended_is_planned_anew(cluster, planned):
    """With another release, the chunks that were done by the wrong one are of no use."""
    begin(cluster, 1)
    planned.place.release += 1
    again = begin_again(cluster)
    assert again.id == planned.plan.id
    assert cluster.ledger.replays.find(cluster.plan.id).outcome == "cancelled"
    assert cluster.alive() == []
    assert any("is given up: another release is to run now" in told for told in cluster.told)


def test_another_request_of_the_same_holder_is_another_replay(cluster, planned):
    first = ReplayRequest(cluster.plan.start, cluster.plan.end).as_json()
    planned.plan = plan(id="c" * 32, output="other", release=cluster.plan.release, asked=first)
    cluster.ledger.replays.ended(cluster.plan.id, "cancelled")
    begun = begin_again(cluster)
    assert begun.id == "c" * 32
    assert begin_again(cluster).id == begun.id
    # How many run at once, and what may be overwritten afterwards, make no other rows.
    assert begin_again(cluster, parallel=2, accept_differences=True).id == begun.id
    planned.plan = plan(id="d" * 32, output="other", release=cluster.plan.release)
    assert begin_again(cluster, accept_missing=True).id == "d" * 32


@pytest.mark.parametrize(
    "settings",
    [{"window": timedelta(minutes=2)}, {"types": ("a", "b")}, {"since": date(2026, 1, 31)}, {"window": "2min"}],
)
def test_a_retry_asks_for_what_it_has_asked_for(cluster, planned, settings):
    """Whatever types its settings have: else it would end its own replay."""
    request = ReplayRequest(cluster.plan.start, cluster.plan.end, overrides=settings)
    planned.plan = plan(id="c" * 32, output="other", release=cluster.plan.release, asked=request.as_json())
    cluster.ledger.replays.ended(cluster.plan.id, "cancelled")
    assert [begin_again(cluster, overrides=settings).id for _ in range(2)] == ["c" * 32] * 2
    assert cluster.ledger.replays.find("c" * 32).outcome is None


@pytest.fixture
def quick(monkeypatch):
    for name in ("_PAUSE", "_TURN"):
        monkeypatch.setattr(run, name, 0.0)


def run_first(cluster, monkeypatch, *outcomes):
    """Run the first chunk, whose attempts end so; how many there were."""
    left = list(outcomes)

    def attempt(*_arguments):
        if isinstance(outcome := left.pop(0), Exception):
            raise outcome

    monkeypatch.setattr(run, "_try", attempt)
    run._run(cluster.project, cluster.chunk(), cluster.told.append, Event())
    return len(outcomes) - len(left)


def test_brokers_that_do_not_answer_are_waited_for_and_cost_no_attempt(cluster, monkeypatch, quick):
    silent = [UnreachableError("kafka does not answer")] * 7
    lost = OperationError("lost")
    assert run_first(cluster, monkeypatch, *silent, lost, *silent, lost, None) == 17
    monkeypatch.setattr(run, "_PATIENCE", -1.0)
    with pytest.raises(UnreachableError):
        run_first(cluster, monkeypatch, *silent, None)


def test_an_answer_makes_patient_again(cluster, monkeypatch, quick):
    """Brokers that were silent an hour ago, and have answered since, may be so once more."""
    silent, clock = UnreachableError("kafka does not answer"), [0.0]
    monkeypatch.setattr("sluice.replay.slots.time", SimpleNamespace(monotonic=lambda: clock[0]))

    def attempt(_project, _chunk, _tell, _ends, patience):
        clock[0] += 500
        if clock[0] in (500, 2_500):
            raise silent
        patience.answered()
        if clock[0] < 2_500:
            raise OperationError("lost")

    monkeypatch.setattr(run, "_try", attempt)
    monkeypatch.setattr(run, "_ATTEMPTS", 9)
    run._run(cluster.project, cluster.chunk(), cluster.told.append, Event())
    assert clock[0] == 3_000


def test_a_chunk_that_another_one_has_finished_meanwhile_is_not_begun(cluster, quick):
    two = cluster.chunk(taker="two")
    assert two.take()
    flink_job_id = two.start()
    cluster.states[flink_job_id] = "FINISHED"
    cluster.ledger.replays.chunk_ended(cluster.plan.id, 1, "finished", flink_job_id=flink_job_id)
    assert run._begun(cluster.chunk(), cluster.told.append, Event(), OutageTimeout(1)) is None
    assert (cluster.row().state, cluster.row().attempt) == ("finished", 1)


def test_a_chunk_that_found_no_room_costs_no_attempt(cluster, monkeypatch, quick):
    monkeypatch.setattr("sluice.replay.chunk._ROOM", 0.0)
    chunk, take = cluster.chunk(), Chunk.take
    given = iter([0, 0, 1])

    def takes(self):
        """The slots are there when it is taken, and gone when it is compiled."""
        cluster.slots = 1
        taken = take(self)
        cluster.slots = next(given)
        return taken

    monkeypatch.setattr(Chunk, "take", takes)
    assert run._begun(chunk, cluster.told.append, Event(), OutageTimeout(1)) in cluster.alive()
    assert cluster.row().attempt == 1


def test_a_report_that_can_not_be_made_leaves_the_replay_in_nobodys_way(cluster, monkeypatch):
    def fails(*_arguments):
        raise UnreachableError("no answer")

    replay, replays = cluster.ledger.replays.find(cluster.plan.id), cluster.ledger.replays
    for number in (1, 2):
        chunk = cluster.chunk(number)
        assert chunk.take()
        replays.chunk_ended(replay.id, number, "finished", flink_job_id=chunk.start())
    monkeypatch.setattr(run, "output_ends", fails)
    with pytest.raises(UnreachableError):
        run.finish_replay(cluster.project, replay, cluster.told.append)
    assert replays.find(replay.id).outcome == "failed"
    ends, asked = {"counts": {0: 5, 1: 7}}, []
    monkeypatch.setattr(run, "output_ends", lambda *_arguments: ends)
    monkeypatch.setattr(run, "refuse_expired", lambda *_arguments: None)
    monkeypatch.setattr(run, "_report", lambda *given: asked.append(given[3]) or {"rows": 3, "output_ends": given[3]})
    run.finish_replay(cluster.project, replay, cluster.told.append)
    assert replays.find(replay.id).outcome == "completed"
    # Rows that others have written there since are not of it.
    monkeypatch.setattr(run, "output_ends", fails)
    run.finish_replay(cluster.project, replay, cluster.told.append)
    assert asked == [ends, ends]


def test_a_replay_is_ended_by_whoever_asks_for_it(cluster):
    (job,) = begin(cluster, 1)
    cancel_backfill(cluster.project, "counts", cluster.plan.id[:8], json=False)
    assert (cluster.states[job], cluster.ledger.replays.find(cluster.plan.id).outcome) == ("CANCELED", "cancelled")
    cluster.ledger.replays.reopen(cluster.plan.id, "another")
    cluster.ledger.replays.ended(cluster.plan.id, "completed", {})
    with pytest.raises(RefusedError, match="has completed and can't be cancelled"):
        cancel_backfill(cluster.project, "counts", cluster.plan.id[:8], json=False)


def test_a_replay_that_is_cancelled_elsewhere_ends_at_once(cluster, quick):
    cluster.ledger.replays.ended(cluster.plan.id, "cancelled")
    with pytest.raises(RefusedError, match="was cancelled"):
        run.run_chunks(cluster.project, cluster.ledger.replays.find(cluster.plan.id), cluster.told.append)
    assert not [told for told in cluster.told if "attempt" in told]


def test_who_is_interrupted_before_a_first_look_leaves_the_chunk_to_be_ended(cluster, monkeypatch, quick):
    ends, chunk = Event(), cluster.chunk()
    start = chunk.start

    def starts(_ends):
        job = start()
        ends.set()
        return job

    monkeypatch.setattr(chunk, "start", starts)
    monkeypatch.setattr(chunk, "cancel", lambda: None)
    monkeypatch.setattr(ends, "is_set", iter([False, False, True, True, True]).__next__)
    run._try(cluster.project, chunk, cluster.told.append, ends, OutageTimeout(1))
    assert (cluster.row().state, len(cluster.alive())) == ("running", 1)
    cancel_replay(cluster.project, cluster.ledger.replays.find(cluster.plan.id), cluster.told.append)
    assert cluster.alive() == []


def test_a_report_that_is_made_while_the_replay_is_cancelled_completes_nothing(cluster, monkeypatch):
    replays = cluster.ledger.replays
    for number in (1, 2):
        chunk = cluster.chunk(number)
        assert chunk.take()
        replays.chunk_ended(cluster.plan.id, number, "finished", flink_job_id=chunk.start())

    def report(*_arguments):
        replays.ended(cluster.plan.id, "cancelled")
        return {"rows": 3}

    monkeypatch.setattr(run, "output_ends", lambda *_arguments: {})
    monkeypatch.setattr(run, "refuse_expired", lambda *_arguments: None)
    monkeypatch.setattr(run, "_report", report)
    with pytest.raises(RefusedError, match="was cancelled"):
        run.finish_replay(cluster.project, replays.find(cluster.plan.id), cluster.told.append)
    assert replays.find(cluster.plan.id).outcome == "cancelled"


def test_what_another_one_goes_on_with_is_not_given_up_with_who_began_it(cluster):
    """It waits for its turn, and has nothing on the cluster yet."""
    cluster.ledger.replays.ended(cluster.plan.id, "failed")
    run.resume_replay(cluster.project, "counts", cluster.plan.id[:8], "two")
    assert end_abandoned(cluster.project, lambda holder: holder == "one", cluster.told.append) == []
    assert cluster.ledger.replays.find(cluster.plan.id).outcome is None
    end_abandoned(cluster.project, lambda holder: holder == "two", cluster.told.append)
    assert cluster.ledger.replays.find(cluster.plan.id).outcome == "failed"


def test_a_chunk_that_fails_again_and_again_is_given_up(cluster, monkeypatch, quick):
    with pytest.raises(OperationError, match="lost"):
        run_first(cluster, monkeypatch, *[OperationError("lost")] * 3, None)
    with pytest.raises(RefusedError):
        run_first(cluster, monkeypatch, RefusedError("no"), None)


def test_a_replay_that_a_run_leaves_unfinished_has_failed(cluster):
    replay = cluster.ledger.replays.find(cluster.plan.id)
    assert end_chunks(cluster.project, replay, "one/", cluster.told.append) == []
    assert cluster.ledger.replays.find(replay.id).outcome == "failed"
