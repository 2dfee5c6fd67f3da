"""The end offset of a partition for a consumer that reads committed records."""

import pytest
from confluent_kafka import Producer

from sluice.errors import UnreachableError
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import find_read_to_end, read_offsets
from tests.support.topics import create_topic
from tests.support.waiting import wait_for


@pytest.fixture
def kafka(local):
    return {"bootstrap.servers": local.kafka_servers}


def transaction(kafka, topic, count, size=0):
    """A producer within a transaction of so many records, of so many bytes each."""
    producer = Producer({**kafka, "transactional.id": f"{topic}-writer"})
    producer.init_transactions(10)
    producer.begin_transaction()
    for number in range(count):
        producer.produce(topic, str(number).encode().ljust(size), partition=0)
    producer.flush(10)
    return producer


def is_read_to_end(kafka, topic, following):
    return bool(find_read_to_end(kafka, f"{topic}-group", {(topic, 0): following}))


def test_commit_marker_after_the_last_record_is_not_counted_as_lag(kafka):
    topic = "ends_in_markers"
    admin = connect(kafka)
    create_topic(admin, topic)
    transaction(kafka, topic, 3).commit_transaction(10)
    # The marker is written after the coordinator has answered.
    wait_for(lambda: read_offsets(admin, [topic], "")[topic, 0].end == 4)
    assert not is_read_to_end(kafka, topic, 2)
    assert is_read_to_end(kafka, topic, 3)

    transaction(kafka, topic, 5).abort_transaction(10)
    wait_for(lambda: read_offsets(admin, [topic], "")[topic, 0].end == 10)
    assert is_read_to_end(kafka, topic, 3)

    unfinished = transaction(kafka, topic, 2)
    # Its records are lag: a read_committed consumer gets them after the commit.
    assert not is_read_to_end(kafka, topic, 3)
    unfinished.commit_transaction(10)
    wait_for(lambda: not is_read_to_end(kafka, topic, 3))


def test_records_of_an_aborted_transaction_are_not_counted_as_lag(kafka):
    topic, count = "ends_in_many", 50_000
    admin = connect(kafka)
    create_topic(admin, topic)
    transaction(kafka, topic, 1).commit_transaction(10)
    transaction(kafka, topic, count, size=200).abort_transaction(30)
    wait_for(lambda: read_offsets(admin, [topic], "")[topic, 0].end == count + 3)
    assert is_read_to_end(kafka, topic, 1)
    assert not is_read_to_end(kafka, topic, 0)


def test_missing_topic_is_an_error_not_a_topic_without_partitions(kafka):
    with pytest.raises(UnreachableError, match="topic nosuch"):
        read_offsets(connect(kafka), ["nosuch"], kafka["bootstrap.servers"])
