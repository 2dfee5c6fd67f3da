"""Offsets of a job's state that Kafka has deleted, or that are beyond the end of the topic."""

import pytest

from sluice.kafka.offsets import Offsets
from sluice.state.offsets import check_offsets, offsets_by_partition, topics_of


@pytest.mark.parametrize(
    ("position", "gone", "beyond"),
    [(9, {("t", 0): 1}, ()), (10, {}, ()), (15, {}, ()), (20, {}, ()), (21, {}, (("t", 0),))],
)
def test_position_is_valid_from_the_first_offset_up_to_the_end_offset(position, gone, beyond):
    found = check_offsets({("t", 0): position}, {("t", 0): Offsets(10, 20)})
    assert (dict(found.gone), found.beyond) == (gone, beyond)


def test_position_in_a_missing_partition_is_beyond_the_end():
    assert check_offsets({("t", 3): 0}, {("t", 0): Offsets(0, 5)}).beyond == (("t", 3),)


def test_deleted_records_are_listed_by_partition():
    found = check_offsets(
        {("t", 0): 5, ("t", 1): 2_000}, {("t", 0): Offsets(1_005, 1_005), ("t", 1): Offsets(2_034, 2_035)}
    )
    assert found.words_of_gone == (
        "Kafka has deleted records that the job has not read yet: 1,034 offsets are missing (t-0: 1,000, t-1: 34)"
    )
    assert check_offsets({}, {}).words_of_gone is None


def test_positions_of_other_topics_and_unstarted_splits_are_ignored():
    positions = {"t": {"0": 7, "1": -2}, "former": {"0": 9}}
    assert offsets_by_partition(positions, topics_of({"reads": {"lines": {"topic": "t"}}})) == {("t", 0): 7}
