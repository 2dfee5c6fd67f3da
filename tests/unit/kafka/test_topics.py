import pytest

from sluice import Kafka, Record
from sluice.errors import TopicError
from sluice.kafka.topic_steps import Actual, Declared, compare, declare, refuse

DECLARED = Declared("out", 3, 1, {"retention.ms": "1000"})


def actual(partitions: int = 3, replication: int = 1, **settings: str) -> Actual:
    return Actual("out", partitions, replication, {"retention.ms": "1000", "cleanup.policy": "delete", **settings})


def actions(*args, **options) -> list[str]:
    return [step.action for step in compare("job", *args, **options)]


def test_missing_topic_is_created():
    (step,) = compare("job", DECLARED, None)
    assert step.action == "create"
    assert step.words == "create out: 3 partitions, replication 1"


def test_topic_as_declared_is_kept_with_undeclared_settings():
    assert actions(DECLARED, actual()) == ["keep"]


def test_partitions_grow_only_if_allowed():
    (step,) = compare("job", DECLARED, actual(2))
    assert step.action == "differs"
    assert step.problem == (
        'job: topic out has 2 partitions, the job declares 3; run "sluice deploy job --grow-partitions", or declare 2'
    )
    assert actions(DECLARED, actual(2), grow_partitions=True) == ["grow"]


def test_partitions_never_shrink():
    (step,) = compare("job", DECLARED, actual(4), grow_partitions=True)
    assert step.action == "differs"
    assert "can't remove partitions" in (step.problem or "")


def test_topic_settings_change_only_if_allowed():
    other = actual(**{"retention.ms": "5"})
    assert actions(DECLARED, other) == ["differs"]
    (step,) = compare("job", DECLARED, other, change_settings=True)
    assert (step.action, step.changes) == ("set", {"retention.ms": ("5", "1000")})


def test_replication_difference_is_only_reported():
    assert actions(DECLARED, actual(replication=2), grow_partitions=True, change_settings=True) == ["differs"]


def test_all_topic_differences_are_named_at_once():
    steps = compare("job", DECLARED, actual(2, 2, **{"retention.ms": "5"}))
    with pytest.raises(TopicError) as caught:
        refuse(steps)
    assert len(str(caught.value).splitlines()) == 3


def test_topic_that_is_read_and_written_is_declared_once():
    class Row(Record):
        a: int

    topic = Kafka("t", record=Row, partitions=2)
    assert declare([topic, topic]) == (Declared("t", 2, 1, {}),)
