"""A whole replay in one process: what it does when it is told to end."""

from dataclasses import replace
from threading import Event
from types import SimpleNamespace

import pytest

from sluice.errors import OperationError, RefusedError, UnreachableError
from sluice.replay import run
from sluice.replay.model import ReplayRequest
from sluice.replay.run import cancel_replay, end_abandoned, end_chunks
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
    planned.plan = plan(id="d" * 32, output="other", release=cluster.plan.release)
    assert begin_again(cluster, parallel=2).id == "d" * 32


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


def test_a_chunk_that_fails_again_and_again_is_given_up(cluster, monkeypatch, quick):
    with pytest.raises(OperationError, match="lost"):
        run_first(cluster, monkeypatch, *[OperationError("lost")] * 3, None)
    with pytest.raises(RefusedError):
        run_first(cluster, monkeypatch, RefusedError("no"), None)


def test_a_replay_that_a_run_leaves_unfinished_has_failed(cluster):
    replay = cluster.ledger.replays.find(cluster.plan.id)
    assert end_chunks(cluster.project, replay, "one/", cluster.told.append) == []
    assert cluster.ledger.replays.find(replay.id).outcome == "failed"
