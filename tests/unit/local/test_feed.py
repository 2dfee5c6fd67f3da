"""Live traffic: it never ends, and lost events are logged."""

import time

import pytest

from sluice.local.layout import Local
from sluice.local.main_job import traffic_service
from sluice.local.traffic import feed
from sluice.local.traffic.generator import Message


class Producer:
    """A producer whose queue holds `room` messages until they are polled; it loses those of one value."""

    def __init__(self, room):
        self.room = room
        self.waiting = []
        self.written = []

    def produce(self, _topic, value, _key, *, on_delivery, **_where):
        if len(self.waiting) >= self.room:
            raise BufferError
        self.waiting.append((value, on_delivery))

    def poll(self, seconds):
        """The broker takes a moment: only a poll with a timeout delivers messages."""
        if seconds or len(self.waiting) < self.room:
            for value, on_delivery in self.waiting:
                on_delivery("timed out" if value == b"lost" else None, None)
                self.written += [] if value == b"lost" else [value]
            self.waiting.clear()


def messages(*values, at_ms=0):
    return [Message(b"k", value, at_ms, 0) for value in values]


def test_overdue_traffic_waits_for_the_queue_and_loses_nothing():
    out = Producer(room=1)
    feed.send(out, messages(b"a", b"b", b"c"))
    out.poll(1)
    assert out.written == [b"a", b"b", b"c"]


def test_undelivered_events_are_logged_and_the_traffic_continues(monkeypatch):
    printed = []
    monkeypatch.setattr(feed.console, "print", lambda line, **_: printed.append(line))
    out = Producer(room=9)
    feed.send(out, messages(b"a", b"lost", b"c"))
    assert out.written == [b"a", b"c"]
    assert printed == ["1 events were not written to analytics_events: timed out"]


def test_a_message_is_sent_at_its_timestamp():
    out = Producer(room=9)
    due = time.time() + 0.1
    feed.send(out, messages(b"a", at_ms=int(due * 1000) + 1))
    assert time.time() >= due


@pytest.mark.parametrize(
    ("seed", "variables"),
    [(None, {"SLUICE_TRAFFIC_RATE": "50.0"}), (7, {"SLUICE_TRAFFIC_RATE": "50.0", "SLUICE_TRAFFIC_SEED": "7"})],
)
def test_rate_and_seed_reach_the_service(tmp_path, seed, variables):
    local = Local(root=tmp_path, traffic_seed=seed)
    given = traffic_service(local).variables
    assert {name: value for name, value in given.items() if "TRAFFIC" in name} == variables
