"""Reading the rows of a topic by key: only wanted ones, within the given offsets."""

import json
from types import SimpleNamespace

import pytest

from sluice.errors import OperationError
from sluice.kafka.offsets import Offsets
from sluice.replay import parity
from tests.simulator.brokers import SimulatedBrokers


class Message:
    def __init__(self, offset, value, key=b'{"id": 1}', partition=0):
        self._given = {"offset": offset, "value": value, "key": key, "partition": partition}

    def __getattr__(self, name):
        return lambda: self._given[name]


class Topic(SimulatedBrokers):
    """A topic with one partition: its messages, and the offsets that were read, first and end."""

    def __init__(self):
        super().__init__({("rows", 0): Offsets(2, 90)})
        self.messages_held, self.read_range = [], None

    def messages(self, _group, offsets):
        self.read_range = offsets["rows", 0]
        return iter(self.messages_held)


@pytest.fixture
def topic():
    return Topic()


def read(topic, **more):
    project = SimpleNamespace(brokers=topic, group=str)
    found = parity.read_rows(project, "rows", ("id",), lambda row: row["at"] < 10, **more)
    return {json.loads(key[0]): row.values["at"] for key, row in found.items()}


def row(offset, identity, at):
    return Message(offset, json.dumps({"id": identity, "at": at}).encode())


def test_read_rows_keeps_the_newest_wanted_row_of_each_key(topic):
    topic.messages_held = [row(0, 1, 3), row(1, 2, 70), row(2, 3, 4), row(3, 3, 5), row(4, 1, 80), Message(5, None)]
    assert read(topic) == {3: 5}
    topic.messages_held.append(row(6, 1, 6))
    assert read(topic) == {1: 6, 3: 5}


@pytest.mark.parametrize(
    "value", [b"{", b"[]", b'"x"', b"{}", b'{"id": 1}', b'{"id": 1, "at": null}'], ids=lambda value: value.decode()
)
def test_an_unreadable_message_is_an_error_or_goes_to_the_callback(topic, value):
    topic.messages_held = [Message(7, value), row(8, 2, 2)]
    with pytest.raises(OperationError, match=r"rows\[0\]: the message at offset 7 isn't a row with the key id"):
        read(topic)
    unreadable = []
    assert read(topic, on_unreadable=unreadable.append) == {2: 2}
    assert [message.offset() for message in unreadable] == [7]


def test_a_tombstone_without_a_key_goes_to_the_callback(topic):
    topic.messages_held = [Message(7, None, key=None), row(8, 2, 2)]
    unreadable = []
    assert read(topic, on_unreadable=unreadable.append) == {2: 2}
    assert len(unreadable) == 1


def test_read_rows_stays_within_the_given_offsets(topic):
    read(topic)
    assert topic.read_range == (2, 90)
    read(topic, starts={0: 40}, ends={0: 60})
    assert topic.read_range == (40, 60)
    read(topic, starts={0: 1}, ends={0: 600})
    assert topic.read_range == (2, 90)
