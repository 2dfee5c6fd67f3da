"""Reading the rows of a topic by their keys: no more than what matters, up to where they end."""

import json
from types import SimpleNamespace

import pytest

from sluice.errors import OperationError
from sluice.kafka.offsets import Offsets
from sluice.replay import parity


class Message:
    def __init__(self, offset, value, key=b'{"id": 1}', partition=0):
        self._given = {"offset": offset, "value": value, "key": key, "partition": partition}

    def __getattr__(self, name):
        return lambda: self._given[name]


@pytest.fixture
def topic(monkeypatch):
    """Set `messages`: what a topic of one partition holds; `asked` is from where to where it was read."""
    topic = SimpleNamespace(messages=[], asked=None)

    def read_between(_config, _group, bounds):
        topic.asked = bounds["rows", 0]
        return iter(topic.messages)

    monkeypatch.setattr(parity, "connect", lambda _kafka: None)
    monkeypatch.setattr(parity, "read_offsets", lambda *_arguments: {("rows", 0): Offsets(2, 90)})
    monkeypatch.setattr(parity, "read_between", read_between)
    return topic


def read(**more):
    project = SimpleNamespace(kafka={}, kafka_servers="", group=str)
    found = parity.read_rows(project, "rows", ("id",), lambda row: row["at"] < 10, **more)
    return {json.loads(key[0]): row.values["at"] for key, row in found.items()}


def row(offset, identity, at):
    return Message(offset, json.dumps({"id": identity, "at": at}).encode())


def test_only_what_matters_is_kept_and_the_newest_of_a_key_decides(topic):
    topic.messages = [row(0, 1, 3), row(1, 2, 70), row(2, 3, 4), row(3, 3, 5), row(4, 1, 80), Message(5, None)]
    assert read() == {3: 5}
    topic.messages.append(row(6, 1, 6))
    assert read() == {1: 6, 3: 5}


@pytest.mark.parametrize(
    "value", [b"{", b"[]", b'"x"', b"{}", b'{"id": 1}', b'{"id": 1, "at": null}'], ids=lambda value: value.decode()
)
def test_a_message_that_is_no_row_ends_it_or_is_told(topic, value):
    topic.messages = [Message(7, value), row(8, 2, 2)]
    with pytest.raises(OperationError, match=r"rows\[0\] holds at offset 7 what is no row with the key id"):
        read()
    told = []
    assert read(otherwise=told.append) == {2: 2}
    assert [message.offset() for message in told] == [7]


def test_a_deleted_row_whose_key_is_none_is_told(topic):
    topic.messages = [Message(7, None, key=None), row(8, 2, 2)]
    told = []
    assert read(otherwise=told.append) == {2: 2}
    assert len(told) == 1


def test_it_is_read_between_where_it_begins_and_where_it_ends(topic):
    read()
    assert topic.asked == (2, 90)
    read(starts={0: 40}, ends={0: 60})
    assert topic.asked == (40, 60)
    read(starts={0: 1}, ends={0: 600})
    assert topic.asked == (2, 90)
