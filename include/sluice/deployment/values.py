"""A model's values as JSON, the same in every process, with digests of those that are secret."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from sluice.deployment.secrets import Hidden, digest


def json_values(model: BaseModel, include: set[str] | None = None, *, reveal: bool = False) -> dict[str, Any]:
    """The model's fields as JSON values; what is a set is sorted, for its own order differs from process to process.

    Args:
        model: The settings.
        include: The fields to take; None: all.
        reveal: Give the secrets themselves, for who runs the job.
    """
    return {
        name: _ordered(getattr(model, name, None), dumped, reveal=reveal)
        for name, dumped in model.model_dump(mode="json", include=include).items()
    }


def _ordered(value: Any, dumped: Any, *, reveal: bool) -> Any:
    """A dumped value in an order of its own, its original beside it to tell sets from lists, and secrets."""
    if isinstance(value, Hidden):
        plain = value.get_secret_value()
        plain = plain.decode() if isinstance(plain, bytes) else plain
        return plain if reveal else digest(str(plain))
    if isinstance(value, BaseModel) and isinstance(dumped, dict):
        return {name: _ordered(getattr(value, name, None), inner, reveal=reveal) for name, inner in dumped.items()}
    if isinstance(value, Mapping) and isinstance(dumped, dict) and len(value) == len(dumped):
        pairs = zip(value.values(), dumped.items(), strict=True)
        return {name: _ordered(inner, of, reveal=reveal) for inner, (name, of) in pairs}
    is_many = isinstance(value, list | tuple | set | frozenset) and isinstance(dumped, list)
    if not is_many or len(value) != len(dumped):
        return dumped  # nothing to order, or the type has a serialiser of its own
    items = [_ordered(inner, of, reveal=reveal) for inner, of in zip(value, dumped, strict=True)]
    if isinstance(value, list | tuple):
        return items
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
