"""A service of the local stack: one supervised process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True)
class Service:
    """What to run, and how to know that it serves.

    Attributes:
        name: Also the name of its log: `<name>.log`.
        command: The process.
        is_ready: It answers; False while it doesn't yet. None: running is enough.
        ports: What it listens on, by the variable that chooses another one: to tell a taken port before it starts.
        variables: Its environment, beside the parent's.
    """

    name: str
    command: tuple[str, ...]
    is_ready: Callable[[], bool] | None = None
    ports: Mapping[str, int] = field(default_factory=dict)
    variables: Mapping[str, str] = field(default_factory=dict)


def configured_by(file: Path) -> dict[str, str]:
    """A variable that changes with what stands in a configuration file: a service that reads it then starts again."""
    return {"SLUICE_CONFIGURATION": hashlib.sha256(file.read_bytes()).hexdigest()}
