"""A model's values as JSON, equal in every process, with secrets as digests."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel

from sluice.deployment.secrets import SECRET_TYPES, digest


def json_values(model: BaseModel, include: set[str] | None = None, *, reveal: bool = False) -> dict[str, Any]:
    """The model's fields as JSON values. Sets are sorted, because their order differs between processes.

    Args:
        model: The settings.
        include: The fields to take; None: all.
        reveal: Include the secrets in clear, to run the job.
    """
    return {
        name: _ordered(getattr(model, name, None), dumped, reveal=reveal)
        for name, dumped in model.model_dump(mode="json", include=include).items()
    }


def _ordered(value: Any, dumped: Any, *, reveal: bool) -> Any:
    """A dumped value with sorted sets and digests of secrets; the original value shows which parts these are."""
    if isinstance(value, SECRET_TYPES):
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
        return dumped  # no collection, or the type has a custom serialiser
    items = [_ordered(inner, of, reveal=reveal) for inner, of in zip(value, dumped, strict=True)]
    if isinstance(value, list | tuple):
        return items
    return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
