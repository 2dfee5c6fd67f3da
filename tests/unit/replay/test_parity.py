"""The comparison of replayed rows with live rows."""

from datetime import UTC, datetime

import pytest

from sluice.replay.parity import Row, Sides, lies_in, moment, rows_by_chunk, same
from tests.unit.replay.plans import plan


def row(values, partition=0):
    return Row(values, b"k", b"v", partition)


@pytest.mark.parametrize(
    ("left", "right", "equal"),
    [
        ({"a": [0.1 + 0.2]}, {"a": [0.3]}, True),
        ({"a": 0.3000001}, {"a": 0.3}, False),
        ({"a": 1}, {"a": 1.0}, True),
        ({"a": True}, {"a": 1.0}, False),
        ({"a": None}, {"a": 0.0}, False),
        ({"a": None}, {}, False),
        ({"a": "1"}, {"a": 1}, False),
        ([1, 2], [1], False),
    ],
)
def test_floats_are_compared_to_nine_digits(left, right, equal):
    assert same(left, right) is equal


def test_parity_counts_equal_differing_and_one_sided_keys():
    sides = Sides(
        replayed={("1",): row({"n": 1}), ("2",): row({"n": 2}), ("3",): row({"n": 3})},
        live={("1",): row({"n": 1}), ("2",): row({"n": 7}), ("4",): row({"n": 4})},
    )
    found = sides.parity
    assert (found.equal, found.differing, found.only_replayed, found.only_live) == (1, 1, 1, 1)
    assert not found.is_equal
    assert found.describe() == "1 rows equal, 1 differing, 1 in the replay alone, 1 in the live topic alone"
    assert found.samples[0] == {"key": [2], "replayed": {"n": 2}, "live": {"n": 7}}
    assert {tuple(sample["key"]) for sample in found.samples} == {(2,), (3,), (4,)}


def test_a_row_must_begin_and_end_in_the_range():
    def lies(begins, ends):
        times = {"window_start": f"2026-01-31T{begins}Z", "window_end": f"2026-01-31T{ends}Z"}
        return lies_in(plan(), times)

    assert lies("12:00:00", "12:05:00")
    assert lies("13:55:00", "14:00:00")
    assert not lies("11:59:59.999", "12:05:00")
    assert not lies("13:56:00", "14:01:00")
    assert not lies("14:00:00", "14:00:00")


def test_rows_count_for_the_chunk_in_which_they_begin():
    times = ("12:00:00", "12:59:00", "13:00:00")
    rows = [row({"window_start": f"2026-01-31T{time}Z", "window_end": "2026-01-31T13:05:00Z"}) for time in times]
    assert rows_by_chunk(plan(), [*rows, row(None)]) == {1: 2, 2: 1}


def test_moment_parses_the_sinks_iso_timestamps():
    assert moment("2026-01-31T12:00:00.5Z") == datetime(2026, 1, 31, 12, 0, 0, 500_000, UTC)
