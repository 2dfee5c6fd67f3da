"""The text of a validation error: which value, what was expected, what was found."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, get_args

import annotated_types
from pydantic import BaseModel, ValidationError
from pydantic.fields import FieldInfo

from sluice.deployment.secrets import is_secret
from sluice.job.config import secret_settings

_LOGIN = re.compile(r"//[^/\s]*@")


def first_problem(error: ValidationError, model: type[BaseModel]) -> tuple[tuple[str, ...], str]:
    """Path and message of the first problem, with the allowed range or the known fields."""
    first = error.errors()[0]
    path = tuple(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return path, _unknown_field(path[-1], _model_at(model, path[:-1]))
    field = _field_at(model, path)
    allowed = allowed_range(field) if field else ""
    got = (
        "" if first["type"] == "missing" else f", got {describe_value(first['input'], secret=_is_secret(path, model))}"
    )
    return path, f"{_decapitalised(first['msg'])}{got}{f' (allowed: {allowed})' if allowed else ''}"


def describe_value(value: object, *, secret: bool = False) -> str:
    """A value for a message: an address without its login; secrets are not shown."""
    if secret:
        return "a value that is not shown"
    if isinstance(value, Mapping):
        return f"a mapping of {', '.join(map(str, value)) or 'nothing'}"
    return repr(_LOGIN.sub("//***@", value) if isinstance(value, str) else value)


def _is_secret(path: tuple[str, ...], model: type[BaseModel]) -> bool:
    """Whether the value is a secret: by its setting's type, or by the name of the option."""
    holder = _model_at(model, path[:1])
    names = secret_settings(model) | (secret_settings(holder) if holder else set())
    return any(part in names or is_secret(part) for part in path)


def allowed_range(field: FieldInfo) -> str:
    """A field's bounds as text, e.g. `>= 1s and <= 1d` or `>= 1`; empty if it has none."""
    low = high = ""
    for constraint in _constraints(field):
        match constraint:
            case annotated_types.Ge():
                low = f">= {_words(constraint.ge)}"
            case annotated_types.Gt():
                low = f"> {_words(constraint.gt)}"
            case annotated_types.Le():
                high = f"<= {_words(constraint.le)}"
            case annotated_types.Lt():
                high = f"< {_words(constraint.lt)}"
    return " and ".join(bound for bound in (low, high) if bound)


def _constraints(field: FieldInfo) -> list[Any]:
    """A field's constraints, those inside `X | None` included."""
    found: list[Any] = []
    for item in (*field.metadata, *(m for member in get_args(field.annotation) for m in get_args(member)[1:])):
        found.extend(item if isinstance(item, annotated_types.GroupedMetadata) else [item])
    return [inner for item in found for inner in (item.metadata if isinstance(item, FieldInfo) else [item])]


def _words(bound: Any) -> str:
    if not isinstance(bound, timedelta):
        return str(bound)
    for unit, size in (("d", timedelta(days=1)), ("h", timedelta(hours=1)), ("min", timedelta(minutes=1))):
        if bound and bound % size == timedelta(0):
            return f"{bound // size}{unit}"
    return f"{bound.total_seconds():g}s"


def _unknown_field(name: str, model: type[BaseModel] | None) -> str:
    known = sorted(model.model_fields) if model else []
    near = difflib.get_close_matches(name, known, 1)
    hint = f"did you mean {near[0]}?" if near else f"known: {', '.join(known)}" if known else ""
    return f"no such field{f'; {hint}' if hint else ''}"


def _model_at(model: type[BaseModel], path: tuple[str, ...]) -> type[BaseModel] | None:
    """The model at the end of the path; dicts count as one step."""
    current: Any = model
    for part in path:
        if isinstance(current, type) and issubclass(current, BaseModel):
            field = current.model_fields.get(part)
            if field is None:
                return None
            current = field.annotation
        else:
            arguments = get_args(current)
            current = arguments[-1] if arguments else None
    return current if isinstance(current, type) and issubclass(current, BaseModel) else None


def _field_at(model: type[BaseModel], path: tuple[str, ...]) -> FieldInfo | None:
    holder = _model_at(model, path[:-1]) if path else None
    return holder.model_fields.get(path[-1]) if holder else None


def _decapitalised(text: str) -> str:
    text = text.removeprefix("Value error, ")
    return text[:1].lower() + text[1:]
