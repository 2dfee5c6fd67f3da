"""Secrets among a job's values: Sluice stores and shows digests of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from sluice.errors import RefusedError
from sluice.job.config import secret_settings

Hidden = (Secret, SecretStr, SecretBytes)
"""The types of a setting that is a secret."""
MARK = "secret:"
"""How a digest begins."""
_DIGEST = re.compile(rf"{MARK}[0-9a-f]{{24}}")
_SENSITIVE = (
    *("password", "secret", "fs.azure.account.key", "apikey", "api-key", "auth-params"),
    *("service-key", "token", "basic-auth", "jaas.config", "http-headers"),
)
"""Parts of an option's name for which Flink 2.3 itself doesn't show the value (`GlobalConfiguration.isSensitive`)."""
_KEYS = ("ssl.key.pem", "ssl.keystore.key")
"""Settings of Kafka clients that hold a private key."""


def is_secret(option: str) -> bool:
    """Whether a Flink option or a setting of a Kafka client holds a secret, by its name."""
    name = option.lower()
    return name in _KEYS or any(part in name for part in _SENSITIVE)


@lru_cache(maxsize=256)
def digest(value: str) -> str:
    """What is kept of a secret: the same in every process, and slow, so that few are found by trying."""
    made = hashlib.scrypt(value.encode(), salt=b"sluice", n=2**14, r=8, p=1, dklen=12)
    return f"{MARK}{made.hex()}"


def is_digest(value: object) -> bool:
    """The value is what was kept of a secret."""
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def holds_digests(values: Any) -> bool:
    """There is what was kept of a secret somewhere in the values."""
    if isinstance(values, Mapping):
        return any(map(holds_digests, values.values()))
    return any(map(holds_digests, values)) if isinstance(values, list) else is_digest(values)


def hidden(options: Mapping[str, str]) -> dict[str, str]:
    """Options with digests of those that are secret; what is a digest already stays one."""
    return {name: redact(value) if is_secret(name) else value for name, value in options.items()}


def secrets_of(options: Mapping[str, str]) -> dict[str, str]:
    """Digests of the options that are secret, and nothing of the others."""
    return {name: digest(value) for name, value in options.items() if is_secret(name)}


def redact(value: Any) -> Any:
    """Digests of all that a value holds; what is one already, or nothing, stays."""
    if isinstance(value, Mapping):
        return {name: redact(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [redact(inner) for inner in value]
    return value if value is None or is_digest(value) else digest(str(value))


def redact_like(value: Any, other: Any) -> Any:
    """A value with digests wherever another one of the same setting has them: what is a secret there was one before.

    Args:
        value: As it was kept, perhaps before the setting was a secret.
        other: The same setting's at another time.
    """
    if not holds_digests(other):
        return value
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return {name: redact_like(inner, other.get(name)) for name, inner in value.items()}
    if isinstance(value, list) and isinstance(other, list):
        return [redact_like(inner, other[min(n, len(other) - 1)]) for n, inner in enumerate(value)]
    return redact(value)


def redact_settings(values: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """Settings of a model, all or some of them, with digests of those that its types say are secret."""
    secrets = secret_settings(model)
    return {
        name: _covered_part(value, model.model_fields[name].annotation) if name in secrets else value
        for name, value in values.items()
    }


def shown(resolved: Mapping[str, Any], model: type[BaseModel] | None = None) -> dict[str, Any]:
    """What a release was resolved to as it may be shown: one from before secrets were hidden has them as given.

    Args:
        resolved: `Release.resolved`.
        model: The settings of its job today; None: they are not known, and its options alone are looked at.
    """
    parts = dict(resolved)
    if "options" in parts:
        parts["options"] = hidden(parts["options"])
    if model is not None and "config" in parts:
        parts["config"] = redact_settings(parts["config"], model)
    return parts


def _covered_part(value: Any, annotation: Any) -> Any:
    """A value that is a secret, or holds some: what is none keeps its place in a model alone."""
    models = [part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
    if isinstance(value, list):
        return [_covered_part(inner, annotation) for inner in value]
    if isinstance(value, Mapping) and len(models) == 1 and set(value) <= set(models[0].model_fields):
        return redact_settings(value, models[0])
    return redact(value)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def opened(kept: Any, today: Any, where: str) -> Any:
    """Values as they were kept, with today's secrets in the places of the digests.

    Args:
        kept: What a release keeps.
        today: The same as the deployment file gives it, secrets and all.
        where: Names the value.

    Raises:
        RefusedError: the deployment file gives no value where the release has a secret.
    """
    if isinstance(kept, Mapping):
        others = today if isinstance(today, Mapping) else {}
        return {name: opened(value, others.get(name), f"{where}.{name}") for name, value in kept.items()}
    if isinstance(kept, list):
        rest = today if isinstance(today, list) else []
        return [opened(value, rest[n] if n < len(rest) else None, f"{where}.{n}") for n, value in enumerate(kept)]
    if not is_digest(kept):
        return kept
    if today is None or isinstance(today, Mapping | list):
        raise RefusedError(
            f"{where} is a secret, of which the release keeps a digest, and the deployment file gives none",
            remedy="give it there; secrets are always today's",
        )
    return today
