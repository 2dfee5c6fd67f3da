"""`python -m sluice.local java|client|up|run-main-job|down|traffic`: what the Makefile calls."""

from __future__ import annotations

import os
import subprocess

import typer

from sluice.local.java import ensure_java
from sluice.local.layout import Local
from sluice.local.stack import Stack
from sluice.terminal import run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Kafka, Flink and Airflow for one machine.",
    pretty_exceptions_enable=False,
)


@app.command()
def up(airflow: bool = True) -> None:  # noqa: FBT001, FBT002 - an option of the command line
    """Start what isn't running, and wait until all of it serves."""
    from sluice.local.main_job import traffic_service  # noqa: PLC0415 - it imports the whole product

    local = Local()
    Stack(local).up(with_airflow=airflow, extra=(traffic_service(local),))


@app.command()
def run_main_job() -> None:
    """Feed traffic, deploy every job through Airflow, and show them."""
    from sluice.fleet.table import print_fleet  # noqa: PLC0415
    from sluice.local import main_job  # noqa: PLC0415

    local = Local()
    print_fleet(main_job.run_main_job(Stack(local)))
    typer.echo(f"Airflow {local.airflow_url}   Flink {local.flink_url}   Kafka {local.kafka_servers}", err=True)
    typer.echo(f"logs    {local.logs}", err=True)
    typer.echo("next    .venv/bin/sluice status; make down", err=True)


@app.command()
def java() -> None:
    """Make sure that Java and Maven are there."""
    ensure_java()


@app.command()
def client() -> None:
    """Have clients start sooner: record what their JVM loads, unless that was done for these jars and this Java.

    Where it can't be done, clients start as they would without.
    """
    from sluice.local.flink import gather_jars  # noqa: PLC0415
    from sluice.settings import Settings  # noqa: PLC0415

    settings = Settings()
    lib = settings.flink_lib or gather_jars(Local())
    command = [str(settings.client_python), "-m", "sluice.client.archive", str(settings.client_cache)]
    subprocess.run(command, env={**os.environ, "FLINK_LIB_DIR": str(lib)}, check=False)


@app.command()
def down() -> None:
    """Stop everything that `up` has started."""
    Stack(Local()).down()


@app.command()
def traffic() -> None:
    """Feed events until ended."""
    from sluice.local.traffic.feed import feed  # noqa: PLC0415

    local = Local()
    feed(local.kafka_servers, local.traffic_rate)


if __name__ == "__main__":
    run(app)
