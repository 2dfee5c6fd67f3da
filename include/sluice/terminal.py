"""Output for people at a terminal. It goes to standard error: standard output is reserved for JSON."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from sluice.errors import SluiceError

_WIDTH = 180
"""Columns to use if standard error is no terminal: a log or a pipe."""

console = Console(stderr=True, highlight=False)
if not console.is_terminal:
    console = Console(stderr=True, highlight=False, width=_WIDTH)


def show_error(error: SluiceError) -> None:
    """Print an error and the next step."""
    console.print(f"[red]error:[/red] {escape(error.message)}")
    if error.remedy:
        console.print(f"[bold]next:[/bold]  {escape(error.remedy)}")


def progress_printer(name: str) -> Callable[[str], None]:
    """A function that prints progress messages with this name in front, for operations that run side by side."""
    return lambda line: console.print(f"[dim]{name}:[/dim] {escape(line)}")


def run(app: typer.Typer) -> None:
    """Run a command line; exit status 0 done, 1 failed, 2 refused before anything was touched, 130 interrupted."""
    try:
        # Commands return None. Typer returns a status only for a command that it aborted, for instance on Ctrl-C.
        status = app(standalone_mode=False)
    except SluiceError as error:
        show_error(error)
        sys.exit(error.exit_status)
    except (typer.Abort, KeyboardInterrupt):
        sys.exit(1)
    except Exception as error:
        # Typer's usage errors have a method that prints them; any other exception keeps its traceback.
        show = getattr(error, "show", None)
        if show is None:
            raise
        show()
        sys.exit(2)
    if status:
        sys.exit(status)


_COLOURS = {
    "healthy": "green",
    "unchanged": "green",
    "ok": "green",
    "idle": "cyan",
    "suspended": "cyan",
    "recorded": "green",
    "rolled_back": "yellow",
    "degraded": "yellow",
    "unknown": "yellow",
    "failed": "red",
    "missing": "red",
}


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> None:
    """Print a table on standard error."""
    console.print(make_table(title, columns, rows))


def make_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> Table:
    """A table for the console."""
    table = Table(title=title, title_justify="left")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(cell(value) for value in row))
    return table


def cell(value: Any) -> str:
    """The text of a table cell; empty for None."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    text = "\n".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    colour = _COLOURS.get(text)
    return f"[{colour}]{text}[/{colour}]" if colour else text.replace("[", r"\[")
