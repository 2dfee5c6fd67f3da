"""A service of the local stack: one supervised process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Service:
    """A process to run, and how to find out that it is ready.

    Attributes:
        name: Its name, and that of its log, `<name>.log`.
        command: The command line.
        is_ready: Whether it answers requests. None: a running process counts as ready.
        ports: The ports that it listens on, by the environment variable that sets each; checked before the start.
        variables: Environment variables in addition to the parent's.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool] | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


def configured_by(file: Path) -> dict[str, str]:
    """A variable with the digest of a configuration file, so that a changed file restarts the services that read it."""
    return {"SLUICE_CONFIGURATION": hashlib.sha256(file.read_bytes()).hexdigest()}
