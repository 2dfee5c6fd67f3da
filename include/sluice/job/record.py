"""Records: the rows of a topic as Python types, and their Flink types."""

from __future__ import annotations

import types
from datetime import date, datetime, time
from decimal import Decimal
from typing import Annotated, Any, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict
from pydantic.fields import FieldInfo

from sluice.errors import ConfigError


class Record(BaseModel):
    """Base of a topic's record. A field's Python type decides its Flink type and nullability.

    | Python | Flink |
    |---|---|
    | `str`, `bytes`, `bool` | STRING, BYTES, BOOLEAN |
    | `int`, `float` | BIGINT, DOUBLE |
    | `datetime`, `date`, `time` | TIMESTAMP_LTZ(3), DATE, TIME(0) |
    | `list[X]`, `dict[K, V]`, a nested `Record` | ARRAY, MAP, ROW |
    | `Annotated[X, FlinkType("DECIMAL(12, 2)")]` | the given type |

    `X | None` is nullable (and may be absent from JSON); everything else is NOT NULL and required.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)


class FlinkType:
    """An explicit Flink type for a field, without nullability: `Annotated[int, FlinkType("INT")]`."""

    def __init__(self, name: str) -> None:
        self.name = name


class AnyScalarAsText:
    """Marks a `str` that also accepts JSON numbers and booleans, as text."""


ScalarText = Annotated[str, AnyScalarAsText()]
"""A STRING that accepts a JSON string, number or boolean, e.g. for a map with mixed values."""

_ATOMS: dict[type, str] = {
    str: "STRING",
    bytes: "BYTES",
    bool: "BOOLEAN",
    int: "BIGINT",
    float: "DOUBLE",
    Decimal: "DECIMAL(38, 18)",
    datetime: "TIMESTAMP_LTZ(3)",
    date: "DATE",
    time: "TIME(0)",
}


def columns(record: type[Record]) -> dict[str, str]:
    """The columns of a record in order: name to Flink type with nullability, e.g. `BIGINT NOT NULL`.

    Raises:
        ConfigError: a field's type has no corresponding Flink type; names record and field.
    """
    return {name: _type(_annotation(field), f"{record.__name__}.{name}") for name, field in record.model_fields.items()}


def row_type(record: type[Record]) -> str:
    """A record as one Flink type: ROW<`a` STRING NOT NULL, ...>."""
    return f"ROW<{', '.join(f'`{name}` {flink}' for name, flink in columns(record).items())}>"


def scalar_text_paths(record: type[Record]) -> tuple[str, ...]:
    """Paths of the `ScalarText` fields; `*` is a map's values or a list's elements."""
    return tuple(
        path for name, field in record.model_fields.items() for path in _scalar_paths(_annotation(field), name)
    )


def _annotation(field: FieldInfo) -> Any:
    """A field's annotation including the markers that pydantic moves to its metadata."""
    annotation: Any = field.annotation
    for item in field.metadata:
        if isinstance(item, FlinkType | AnyScalarAsText):
            annotation = Annotated[annotation, item]
    return annotation


def _without_none(annotation: Any) -> tuple[Any, bool]:
    """The type without `None`, and whether `None` was allowed."""
    metadata: tuple[Any, ...] = ()
    if get_origin(annotation) is Annotated:
        annotation, *rest = get_args(annotation)
        metadata = tuple(rest)
    nullable = False
    if get_origin(annotation) in (Union, types.UnionType):
        members = [member for member in get_args(annotation) if member is not types.NoneType]
        nullable = len(members) < len(get_args(annotation))
        annotation = members[0] if len(members) == 1 else Union[tuple(members)]  # noqa: UP007 - built at run time
    for item in metadata:
        annotation = Annotated[annotation, item]
    return annotation, nullable


def _type(annotation: Any, where: str) -> str:
    bare, nullable = _without_none(annotation)
    return _bare_type(bare, where) + ("" if nullable else " NOT NULL")


def _bare_type(annotation: Any, where: str) -> str:
    if get_origin(annotation) is Annotated:
        inner, *metadata = get_args(annotation)
        explicit = [item.name for item in metadata if isinstance(item, FlinkType)]
        return explicit[0] if explicit else _bare_type(inner, where)
    arguments = get_args(annotation)
    if get_origin(annotation) is list:
        return f"ARRAY<{_type(arguments[0], f'{where}[]')}>"
    if get_origin(annotation) is dict:
        return f"MAP<{_type(arguments[0], f'{where} key')}, {_type(arguments[1], f'{where}.*')}>"
    if isinstance(annotation, type) and issubclass(annotation, Record):
        return row_type(annotation)
    try:
        return _ATOMS[annotation]
    except (KeyError, TypeError):
        raise ConfigError(
            f"{where}: type {annotation!r} has no corresponding Flink type",
            remedy="use one of the types that the Record class lists, or Annotated[..., FlinkType('...')]",
        ) from None


def _scalar_paths(annotation: Any, path: str) -> list[str]:
    bare, _ = _without_none(annotation)
    if get_origin(bare) is Annotated:
        inner, *metadata = get_args(bare)
        return [path] if any(isinstance(item, AnyScalarAsText) for item in metadata) else _scalar_paths(inner, path)
    if get_origin(bare) in (list, dict):
        return _scalar_paths(get_args(bare)[-1], f"{path}.*")
    if isinstance(bare, type) and issubclass(bare, Record):
        return [found for name, field in bare.model_fields.items()
                for found in _scalar_paths(_annotation(field), f"{path}.{name}")]  # fmt: skip
    return []
