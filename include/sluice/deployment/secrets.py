"""Secrets among a job's settings and options: Sluice stores and shows digests of them."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, get_args

from pydantic import BaseModel, Secret, SecretBytes, SecretStr

from sluice.errors import RefusedError
from sluice.job.config import secret_settings

SECRET_TYPES = (Secret, SecretStr, SecretBytes)
"""The types of secret settings."""
MARK = "secret:"
"""Prefix of a digest."""
_DIGEST = re.compile(rf"{MARK}[0-9a-f]{{24}}")
_SENSITIVE = (
    *("password", "secret", "fs.azure.account.key", "apikey", "api-key", "auth-params"),
    *("service-key", "token", "basic-auth", "jaas.config", "http-headers"),
)
"""Parts of an option's name by which Flink 2.3 itself hides the value (`GlobalConfiguration.isSensitive`)."""
_KEYS = ("ssl.key.pem", "ssl.keystore.key")
"""Settings of Kafka clients that contain a private key."""


def is_secret(option: str) -> bool:
    """Whether a Flink option or a Kafka client setting is a secret, judged by its name."""
    name = option.lower()
    return name in _KEYS or any(part in name for part in _SENSITIVE)


@lru_cache(maxsize=256)
def digest(value: str) -> str:
    """The digest of a secret: equal in every process. scrypt is slow, which limits guessing."""
    made = hashlib.scrypt(value.encode(), salt=b"sluice", n=2**14, r=8, p=1, dklen=12)
    return f"{MARK}{made.hex()}"


def is_digest(value: object) -> bool:
    """Whether the value is the digest of a secret."""
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def holds_digests(values: Any) -> bool:
    """Whether the values contain the digest of a secret, at any depth."""
    if isinstance(values, Mapping):
        return any(map(holds_digests, values.values()))
    return any(map(holds_digests, values)) if isinstance(values, list) else is_digest(values)


def redact_options(options: Mapping[str, str]) -> dict[str, str]:
    """The options with secret values replaced by digests; existing digests stay."""
    return {name: redact(value) if is_secret(name) else value for name, value in options.items()}


def option_digests(options: Mapping[str, str]) -> dict[str, str]:
    """The digests of the secret options; other options are left out."""
    return {name: digest(value) for name, value in options.items() if is_secret(name)}


def redact(value: Any) -> Any:
    """The value with every scalar in it replaced by its digest; None and digests stay."""
    if isinstance(value, Mapping):
        return {name: redact(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [redact(inner) for inner in value]
    return value if value is None or is_digest(value) else digest(str(value))


def redact_like(value: Any, other: Any) -> Any:
    """The value with digests in the places where `other` has digests: a secret of one release is one of all.

    Args:
        value: A stored value, perhaps from before the setting became a secret.
        other: The value of the same setting in another release.
    """
    if not holds_digests(other):
        return value
    if isinstance(value, Mapping) and isinstance(other, Mapping):
        return {name: redact_like(inner, other.get(name)) for name, inner in value.items()}
    if isinstance(value, list) and isinstance(other, list):
        return [redact_like(inner, other[min(n, len(other) - 1)]) for n, inner in enumerate(value)]
    return redact(value)


def redact_settings(values: Mapping[str, Any], model: type[BaseModel]) -> dict[str, Any]:
    """The settings (all or some of a model's) with those of secret types replaced by digests."""
    secrets = secret_settings(model)
    return {
        name: _redact_part(value, model.model_fields[name].annotation) if name in secrets else value
        for name, value in values.items()
    }


def redact_release(resolved: Mapping[str, Any], model: type[BaseModel] | None = None) -> dict[str, Any]:
    """The resolved settings of a release without secrets: old releases were stored with secrets in clear.

    Args:
        resolved: `Release.resolved`.
        model: The settings model of the job today; None: unknown, and only the options are redacted.
    """
    parts = dict(resolved)
    if "options" in parts:
        parts["options"] = redact_options(parts["options"])
    if model is not None and "config" in parts:
        parts["config"] = redact_settings(parts["config"], model)
    return parts


def _redact_part(value: Any, annotation: Any) -> Any:
    """Redact a value that is or contains secrets; the fields of a nested model are redacted by their types."""
    models = [part for part in _parts(annotation) if isinstance(part, type) and issubclass(part, BaseModel)]
    if isinstance(value, list):
        return [_redact_part(inner, annotation) for inner in value]
    if isinstance(value, Mapping) and len(models) == 1 and set(value) <= set(models[0].model_fields):
        return redact_settings(value, models[0])
    return redact(value)


def _parts(annotation: Any) -> Iterator[Any]:
    yield annotation
    for part in get_args(annotation):
        yield from _parts(part)


def resolve_secrets(kept: Any, today: Any, where: str) -> Any:
    """The stored values with the current secrets in place of the digests.

    Args:
        kept: The values that a release stores.
        today: The same values from the deployment file, secrets in clear.
        where: The name of the value, for the message.

    Raises:
        RefusedError: the deployment file has no value for a secret of the release.
    """
    if isinstance(kept, Mapping):
        others = today if isinstance(today, Mapping) else {}
        return {name: resolve_secrets(value, others.get(name), f"{where}.{name}") for name, value in kept.items()}
    if isinstance(kept, list):
        rest = today if isinstance(today, list) else []
        return [
            resolve_secrets(value, rest[n] if n < len(rest) else None, f"{where}.{n}") for n, value in enumerate(kept)
        ]
    if not is_digest(kept):
        return kept
    if today is None or isinstance(today, Mapping | list):
        raise RefusedError(
            f"{where} is a secret, and the deployment file has no value for it; the release stores a digest only",
            remedy="set it in the deployment file: a release always runs with the current secrets",
        )
    return today
