"""`python -m sluice.local up|down|traffic|...`: what the Makefile calls."""

from __future__ import annotations

import typer

from sluice.local.layout import Local
from sluice.local.stack import Stack

app = typer.Typer(add_completion=False, no_args_is_help=True, help="Kafka, Flink and Airflow for one machine.")


@app.command()
def up(airflow: bool = True) -> None:  # noqa: FBT001, FBT002 - an option of the command line
    """Start what isn't running, and wait until all of it serves."""
    Stack(Local()).up(with_airflow=airflow)


@app.command()
def down() -> None:
    """Stop everything that `up` has started."""
    Stack(Local()).down()


if __name__ == "__main__":
    app()
