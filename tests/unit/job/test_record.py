"""The Flink types of a record's fields."""

from datetime import date, datetime
from typing import Annotated

import pytest

from sluice import FlinkType, Record, ScalarText
from sluice.errors import ConfigError
from sluice.job.record import columns, row_type, scalar_text_paths


class Inner(Record):
    id: str
    properties: dict[str, ScalarText]


class Everything(Record):
    count: int
    ratio: float | None
    inner: Inner
    tags: list[str | None]
    at: datetime
    day: date | None
    price: Annotated[int, FlinkType("DECIMAL(12, 2)")]
    small: Annotated[int, FlinkType("INT")] | None


def test_record_columns_have_type_and_nullability():
    assert columns(Everything) == {
        "count": "BIGINT NOT NULL",
        "ratio": "DOUBLE",
        "inner": "ROW<`id` STRING NOT NULL, `properties` MAP<STRING NOT NULL, STRING NOT NULL> NOT NULL> NOT NULL",
        "tags": "ARRAY<STRING> NOT NULL",
        "at": "TIMESTAMP_LTZ(3) NOT NULL",
        "day": "DATE",
        "price": "DECIMAL(12, 2) NOT NULL",
        "small": "INT",
    }


def test_record_is_one_row_type():
    class Point(Record):
        x: int

    assert row_type(Point) == "ROW<`x` BIGINT NOT NULL>"


def test_scalar_text_fields_are_listed_by_path():
    assert scalar_text_paths(Everything) == ("inner.properties.*",)


def test_type_without_flink_type_names_record_and_field():
    class Odd(Record):
        weird: complex

    with pytest.raises(ConfigError, match=r"Odd\.weird: type .*complex.* has no corresponding Flink type"):
        columns(Odd)
