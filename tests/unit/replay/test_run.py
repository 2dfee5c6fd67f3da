"""A whole replay in one process: what it does when it is told to end."""

import pytest

from sluice.errors import OperationError
from sluice.replay.run import cancel_replay, end_abandoned, end_chunks
from tests.unit.replay.clustered import Clustered


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
