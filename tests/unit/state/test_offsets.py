"""A topic that no longer holds, or doesn't hold yet, what a job would read next."""

import pytest

from sluice.kafka.offsets import Offsets
from sluice.state.offsets import check_offsets, offsets_by_partition, topics_of


@pytest.mark.parametrize(
    ("position", "gone", "beyond"),
    [(9, {("t", 0): 1}, ()), (10, {}, ()), (15, {}, ()), (20, {}, ()), (21, {}, (("t", 0),))],
)
def test_a_position_lies_between_the_first_offset_and_the_next(position, gone, beyond):
    found = check_offsets({("t", 0): position}, {("t", 0): Offsets(10, 20)})
    assert (dict(found.gone), found.beyond) == (gone, beyond)


def test_a_partition_that_does_not_exist_has_no_such_position():
    assert check_offsets({("t", 3): 0}, {("t", 0): Offsets(0, 5)}).beyond == (("t", 3),)


def test_what_is_gone_is_told_by_partition():
    found = check_offsets(
        {("t", 0): 5, ("t", 1): 2_000}, {("t", 0): Offsets(1_005, 1_005), ("t", 1): Offsets(2_034, 2_035)}
    )
    assert found.words_of_gone == (
        "Kafka no longer holds all that was not read yet: 1,034 offsets are gone (t-0: 1,000, t-1: 34)"
    )
    assert check_offsets({}, {}).words_of_gone is None


def test_positions_of_other_topics_and_of_splits_that_have_not_begun_do_not_count():
    positions = {"t": {"0": 7, "1": -2}, "former": {"0": 9}}
    assert offsets_by_partition(positions, topics_of({"reads": {"lines": {"topic": "t"}}})) == {("t", 0): 7}
