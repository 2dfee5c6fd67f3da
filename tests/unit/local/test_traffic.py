"""The generator is seeded, and the oracle names each fault's kind."""

import json
from collections import Counter

import pytest

from sluice.local.traffic.generator import CLOSING_MS, Message, Shares, Traffic, huge
from sluice.local.traffic.oracle import compute

START = 1_767_225_600_000
EVENT = {
    "event": {"id": "e", "type": "page_view"},
    "device": {"user_agent": None},
    "user": {"id": "u"},
    "context": {"url": "/", "session_id": "s"},
    "properties": {"a": 1, "b": "x"},
    "metrics": {"load_time": 1},
    "timestamp": START,
}


def traffic(seed=1, **shares):
    return Traffic(seed=seed, rate=100, start_ms=START, partitions=3, shares=Shares(**shares))


def message(value, at=START):
    return Message(b"u", value if isinstance(value, bytes | None) else json.dumps(value).encode(), at, 0)


def test_a_seed_gives_the_same_messages():
    assert traffic().bounded(500) == traffic().bounded(500)
    assert traffic().bounded(500) != traffic(seed=2).bounded(500)


def test_a_bounded_run_closes_every_partition():
    messages = traffic().bounded(2_000)
    assert {m.partition for m in messages[-3:]} == {0, 1, 2}
    assert {m.at_ms - messages[-4].at_ms for m in messages[-3:]} == {CLOSING_MS}
    assert [m.at_ms for m in messages] == sorted(m.at_ms for m in messages)


def test_late_and_malformed_messages_have_their_shares():
    expected = compute(traffic(late=0.05, malformed=0.02).bounded(20_000))
    assert 800 < expected.late < 1_200
    assert 300 < len(expected.malformed) < 500
    assert len({kind for _, kind in expected.malformed}) >= 7


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (None, "empty"),
        (b"", "empty"),
        (b"{", "not JSON"),
        (b'{"a": NaN}', "not JSON"),
        (b"[]", "not an object"),
        (b"\xff", "not UTF-8"),
        (huge(START), "too long"),
        ({**EVENT, "timestamp": None}, "wrong type"),
        ({**EVENT, "timestamp": True}, "wrong type"),
        ({**EVENT, "user": {}}, "missing field"),
        ({**EVENT, "properties": {"a": []}}, "wrong type"),
        ({**EVENT, "timestamp": START + 3_600_001}, "absurd event time"),
        ({**EVENT, "timestamp": START - 366 * 86_400_000}, "absurd event time"),
    ],
)
def test_oracle_names_the_kind_of_each_fault(value, kind):
    assert [found for _, found in compute([message(value)]).malformed] == [kind]


def test_sessions_last_from_the_first_to_the_last_page_view():
    ats = [START, START + 1_800_000, START + 3_600_001]
    sessions = compute([message({**EVENT, "timestamp": at}, at) for at in ats]).session_metrics
    assert Counter((row["duration"], row["page_count"]) for row in sessions) == {(1_800_000, 2): 1, (0, 1): 1}


def test_the_mean_load_time_is_not_rounded():
    events = [message({**EVENT, "metrics": {"load_time": load}}) for load in (1, 2, 2)]
    assert compute(events).performance_metrics[0]["avg_load_time"] == pytest.approx(5 / 3)
