"""A model's values as JSON, the same in every process."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel


def json_values(model: BaseModel, include: set[str] | None = None) -> dict[str, Any]:
    """The model's fields as JSON values; what is a set is sorted, for its own order differs from process to process.

    Args:
        model: The settings.
        include: The fields to take; None: all.
    """
    return {
        name: _ordered(getattr(model, name, None), dumped)
        for name, dumped in model.model_dump(mode="json", include=include).items()
    }


def _ordered(value: Any, dumped: Any) -> Any:
    """A dumped value in an order of its own, its original beside it to tell sets from lists."""
    if isinstance(value, BaseModel) and isinstance(dumped, dict):
        return {name: _ordered(getattr(value, name, None), inner) for name, inner in dumped.items()}
    if isinstance(value, Mapping) and isinstance(dumped, dict) and len(value) == len(dumped):
        return {name: _ordered(inner, of) for inner, (name, of) in zip(value.values(), dumped.items(), strict=True)}
    if not isinstance(value, list | tuple | set | frozenset) or not isinstance(dumped, list):
        return dumped
    if len(value) != len(dumped):
        return dumped  # the type has a serialiser of its own
    items = [_ordered(inner, of) for inner, of in zip(value, dumped, strict=True)]
    if isinstance(value, list | tuple):
        return items
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
