"""Positions, watermarks and lag from what Flink and the broker say."""

import pytest

from sluice.health.probe import _POSITION, _WATERMARK, _splits
from sluice.health.snapshot import SplitReading
from sluice.kafka.offsets import Offsets

NAME = "0.Source__KafkaSource-default_catalog_default_database_events__topic"


def test_the_names_of_metrics_are_read():
    match = _POSITION.fullmatch(f"{NAME}.KafkaSourceReader.topic.my.topic-1.partition.12.currentOffset")
    assert (match["topic"], match["number"]) == ("my.topic-1", "12")
    match = _WATERMARK.fullmatch(f"{NAME}.split.my.topic-1-12.watermark.currentWatermark")
    assert (match["topic"], match["number"]) == ("my.topic-1", "12")


@pytest.mark.parametrize(
    ("position", "committed", "offsets", "lag"),
    [
        (9, None, Offsets(0, 10), 0),
        (4, None, Offsets(0, 10), 5),
        (None, None, Offsets(0, 10), None),  # no metric: unknown, not zero
        (-1, None, Offsets(0, 0), 0),
        (-1, None, Offsets(3, 10), 7),  # nothing read yet: all that the topic holds
        (-1, 10, Offsets(0, 10), 0),  # restored at the end, nothing came since
        (-1, 2, Offsets(5, 10), 5),  # what was between is gone from the topic
    ],
)
def test_lag(position, committed, offsets, lag):
    key = ("t", 0)
    readings = {"position": {} if position is None else {key: position}, "watermark": {}}
    found = _splits(readings, {key: offsets}, {} if committed is None else {key: committed})
    assert found == {key: SplitReading(lag, None)}
