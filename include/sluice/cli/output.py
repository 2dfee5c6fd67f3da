"""What the command line prints: JSON alone on standard output, everything for people on standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, is_dataclass
from typing import Any

from rich.console import Console
from rich.table import Table

from sluice.health.gates import seconds

console = Console(stderr=True, highlight=False)
if not console.is_terminal:
    console = Console(stderr=True, highlight=False, width=180, soft_wrap=False)

_COLOURS = {
    "healthy": "green",
    "unchanged": "green",
    "ok": "green",
    "idle": "cyan",
    "degraded": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "missing": "red",
}


def print_json(value: Any) -> None:
    """A value as JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, default=_plain) + "\n")


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """A table on standard error."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    console.print(table)


def cell(value: Any) -> str:
    """A value for a person; nothing for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    text = "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    colour = _COLOURS.get(text)
    return f"[{colour}]{text}[/{colour}]" if colour else text.replace("[", r"\[")


def age(milliseconds: int | None) -> str | None:
    """Milliseconds as seconds."""
    return None if milliseconds is None else seconds(milliseconds)


def _plain(value: Any) -> Any:
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)
