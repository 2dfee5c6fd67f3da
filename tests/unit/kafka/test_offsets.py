from concurrent.futures import Future

import pytest
from confluent_kafka import KafkaError, KafkaException
from confluent_kafka.admin import OffsetSpec

from sluice.kafka.offsets import find_offsets
from tests.simulator.clock import SimulatedClock


class Moving:
    """An admin client that answers with the given errors for some partitions."""

    def __init__(self, errors):
        self.errors = errors
        self.asked = []

    def list_offsets(self, wanted, request_timeout):  # noqa: ARG002
        self.asked.append(sorted((place.topic, place.partition) for place in wanted))
        return {place: self._answer(place.topic, place.partition) for place in wanted}

    def _answer(self, *partition):
        answer: Future = Future()
        left = self.errors.get(partition, [])
        if left:
            answer.set_exception(KafkaException(KafkaError(left.pop(0))))
        else:
            answer.set_result("found")
        return answer


def test_offsets_of_a_partition_with_moving_leader_are_retried():
    admin = Moving({("t", 1): [KafkaError.NOT_LEADER_FOR_PARTITION, KafkaError.LEADER_NOT_AVAILABLE]})
    missing = {}
    found = find_offsets(admin, [("t", 0), ("t", 1)], OffsetSpec.latest(), missing, SimulatedClock())
    assert found == {("t", 0): "found", ("t", 1): "found"}
    assert missing == {}
    assert admin.asked == [[("t", 0), ("t", 1)], [("t", 1)], [("t", 1)]]


def test_partition_without_leader_hides_no_other_topic():
    admin = Moving({("t", 1): [KafkaError.LEADER_NOT_AVAILABLE] * 100})
    missing = {}
    assert find_offsets(admin, [("t", 1), ("u", 0)], OffsetSpec.latest(), missing, SimulatedClock()) == {
        ("u", 0): "found"
    }
    assert missing == {"t": "Broker: Leader not available"}


def test_offsets_of_a_deleted_topic_are_not_retried():
    admin = Moving({("t", 0): [KafkaError.UNKNOWN_TOPIC_OR_PART]})
    missing = {}
    assert find_offsets(admin, [("t", 0)], OffsetSpec.latest(), missing, SimulatedClock()) == {}
    assert (len(admin.asked), list(missing)) == (1, ["t"])


def test_unreachable_brokers_end_the_offset_request():
    admin = Moving({("t", 0): [KafkaError._TRANSPORT]})  # has no public name
    with pytest.raises(KafkaException):
        find_offsets(admin, [("t", 0)], OffsetSpec.latest(), {})
