"""Secrets among the values of a job: what is kept and shown of them is a digest.

A changed secret is a change, then, and can't be read. What a job is started with is today's: see `opened`.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from pydantic import Secret, SecretBytes, SecretStr

from sluice.errors import RefusedError

Hidden = (Secret, SecretStr, SecretBytes)
"""The types of a setting that is a secret."""
_MARK = "secret:"
_DIGEST = re.compile(rf"{_MARK}[0-9a-f]{{24}}")
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
    return f"{_MARK}{made.hex()}"


def is_digest(value: object) -> bool:
    """The value is what was kept of a secret."""
    return isinstance(value, str) and bool(_DIGEST.fullmatch(value))


def holds_digests(values: Any) -> bool:
    """There is what was kept of a secret somewhere in the values."""
    if isinstance(values, Mapping):
        return any(map(holds_digests, values.values()))
    return any(map(holds_digests, values)) if isinstance(values, list) else is_digest(values)


def hidden(options: Mapping[str, str]) -> dict[str, str]:
    """Options with digests of those that are secret."""
    return {name: digest(value) if is_secret(name) else value for name, value in options.items()}


def secrets_of(options: Mapping[str, str]) -> dict[str, str]:
    """Digests of the options that are secret, and nothing of the others."""
    return {name: digest(value) for name, value in options.items() if is_secret(name)}


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
