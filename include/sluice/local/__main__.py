"""`python -m sluice.local java|client|up|run-main-job|down|refuse-running|traffic`, as the Makefile calls it."""

from __future__ import annotations

import os
import subprocess

import typer

from sluice.errors import ConfigError
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
    """Start the services that aren't running, and wait until all of them are ready."""
    from sluice.local.main_job import traffic_service  # noqa: PLC0415 - it imports the whole product

    local = Local()
    Stack(local).up(with_airflow=airflow, extra=(traffic_service(local),))


@app.command()
def run_main_job() -> None:
    """Start the traffic, deploy every job through Airflow, and print their status.

    Raises:
        ConfigError: a file is broken; the other jobs run.
    """
    from sluice.fleet.table import print_fleet  # noqa: PLC0415
    from sluice.local import main_job  # noqa: PLC0415

    local = Local()
    rows = main_job.run_main_job(Stack(local))
    print_fleet(rows)
    typer.echo(f"Airflow {local.airflow_url}   Flink {local.flink_url}   Kafka {local.kafka_servers}", err=True)
    typer.echo(f"logs    {local.logs}", err=True)
    # Later commands find this stack by the same variables.
    given = " ".join(f"{name}={os.environ[name]}" for name in local.variables if os.environ.get(name))
    typer.echo(f"next    {f'export {given}; ' if given else ''}.venv/bin/sluice status; make down", err=True)
    broken = [reason for row in rows if row.state == "broken" for reason in row.reasons]
    if broken:
        raise ConfigError("\n".join(broken), remedy="fix it, then run make up again; the other jobs run")


@app.command()
def java() -> None:
    """Find Java and Maven, or install them."""
    ensure_java()


@app.command()
def client() -> None:
    """Make clients start faster: write a class-data archive for their JVM, unless these jars and this Java have one.

    If that fails, clients start without it.
    """
    from sluice.local.flink import gather_jars  # noqa: PLC0415
    from sluice.settings import Settings, make_private  # noqa: PLC0415

    settings = Settings()
    make_private(settings.home)
    lib = settings.flink_lib or gather_jars(Local())
    command = [str(settings.client_python), "-m", "sluice.client.archive", str(settings.client_cache)]
    subprocess.run(command, env={**os.environ, "FLINK_LIB_DIR": str(lib)}, check=False)


@app.command()
def down() -> None:
    """Stop all services of the stack."""
    Stack(Local()).down()


@app.command()
def refuse_running() -> None:
    """Exit with status 2 while a stack runs from this Python environment."""
    Stack(Local()).refuse_running()


@app.command()
def traffic(servers: str | None = None) -> None:
    """Send events until the process is stopped, to the stack's own broker or to others."""
    from sluice.local.traffic.feed import feed  # noqa: PLC0415

    local = Local()
    feed(servers or local.kafka_servers, local.traffic_rate, local.traffic_seed)


if __name__ == "__main__":
    run(app)
