"""The commands. Each reads its arguments, does its work through the product's own modules, and prints.

What a command alone needs is imported in it: a deploy starts its client process before it loads the rest.
"""

from __future__ import annotations

import asyncio
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Annotated, Any

import typer
from pydantic import ValidationError
from rich.markup import escape

from sluice.cli.output import print_json
from sluice.errors import ConfigError, SluiceError
from sluice.operation.compiler import start_client
from sluice.operation.holder import shell_holder
from sluice.project import Project
from sluice.settings import Settings
from sluice.terminal import console, print_table, run, show_error

if TYPE_CHECKING:
    from sluice.operation.deploy import Started

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Deploys and watches PyFlink streaming jobs.",
    pretty_exceptions_enable=False,
)

Environment = Annotated[
    str | None, typer.Option("--environment", "-e", help="Which file of deployments/ applies (SLUICE_ENVIRONMENT).")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output, and nothing else there.")]
_PARALLEL = 4
"""Jobs that are deployed at once: each has a client process of about 600 MB for some seconds."""


def main() -> None:
    """The entry point `sluice`."""
    run(app)


@app.command()
def deploy(
    jobs: Annotated[list[str], typer.Argument(help="The jobs' names.", metavar="JOB...")],
    environment: Environment = None,
    json: Json = False,
    grow_partitions: Annotated[bool, typer.Option(help="Add partitions where a topic has too few.")] = False,
    change_topics: Annotated[bool, typer.Option(help="Change a topic's settings to the declared ones.")] = False,
) -> None:
    """Create topics, package, submit, and wait until each job is inside its limits."""
    project = _project(environment)
    for name in jobs:
        project.desired(name)  # refused before anything is touched
    with ThreadPoolExecutor(_PARALLEL) as pool:
        results = list(pool.map(lambda name: _deploy(project, name, grow=grow_partitions, change=change_topics), jobs))
    rows = [row for row, _ in results]
    if json:
        print_json(rows)
    print_table(
        "Deploy",
        ("job", "outcome", "release", "Flink job", "restored from"),
        [[row["job"], row["outcome"], row["release"], row["flink_job_id"], row["restored_from"]] for row in rows],
    )
    errors = [error for _, error in results if error]
    for error in errors:
        show_error(error)
    if errors:
        sys.exit(min(error.exit_status for error in errors))


@app.command()
def status(
    jobs: Annotated[list[str] | None, typer.Argument(help="The jobs' names; none: all.", metavar="[JOB...]")] = None,
    environment: Environment = None,
    json: Json = False,
) -> None:
    """Show each job: its state, release, verdict and figures."""
    from sluice.fleet import fleet_status  # noqa: PLC0415
    from sluice.fleet_table import print_fleet  # noqa: PLC0415

    rows = fleet_status(_project(environment), jobs or [])
    if json:
        print_json(rows)
        return
    print_fleet(rows)


@app.command()
def doctor(environment: Environment = None, json: Json = False) -> None:
    """Check every prerequisite, version and address, with the remedy for what is wrong."""
    from sluice.cli import doctor as checks  # noqa: PLC0415

    found = checks.examine(_settings(environment))
    if json:
        print_json(found)
    else:
        print_table(
            "Doctor", ("check", "state", "found", "remedy"), [[c.name, c.state, c.found, c.remedy] for c in found]
        )
    if any(check.state == "failed" for check in found):
        sys.exit(1)


@app.command()
def new(job: Annotated[str, typer.Argument(help="The new job's name.")], json: Json = False) -> None:
    """Write a working job file with its test."""
    from sluice.cli.scaffold import write_job  # noqa: PLC0415

    files = write_job(_settings(None).root, job)
    if json:
        print_json({"job": job, "files": [str(file) for file in files]})
    for file in files:
        console.print(f"wrote {file}")
    console.print(f"next:  pytest {files[-1]}; sluice deploy {job}")


def _settings(environment: str | None) -> Settings:
    try:
        return Settings.model_validate({"environment": environment} if environment else {})
    except ValidationError as error:
        first = error.errors()[0]
        raise ConfigError(f"SLUICE_{str(first['loc'][0]).upper()}: {first['msg']}, got {first['input']!r}") from error


def _project(environment: str | None) -> Project:
    return Project(_settings(environment))


def _deploy(project: Project, name: str, *, grow: bool, change: bool) -> tuple[dict[str, Any], SluiceError | None]:
    """One job's deploy, as its row and its error."""

    def tell(line: str) -> None:
        console.print(f"[dim]{name}:[/dim] {escape(line)}")

    row: dict[str, Any] = {
        "job": name,
        "operation": None,
        "outcome": "failed",
        "release": None,
        "flink_job_id": None,
        "savepoint": None,
        "restored_from": None,
        "downtime_ms": None,
    }
    client = start_client(project, name, tell)
    try:
        from sluice.operation.deploy import Deploy  # noqa: PLC0415

        stages = Deploy(project, name, shell_holder(), tell, client=client)
        stages.create_topics(grow_partitions=grow, change_settings=change)
        release = stages.package()
        started = stages.submit(release.number)
        client.close()  # half a gigabyte that nobody needs at the gates
        row |= {
            "operation": started.operation,
            "release": started.release,
            "flink_job_id": started.flink_job_id,
            "restored_from": started.restored_from,
        }
        try:
            failure = asyncio.run(_pass_gates(project, name, started, tell))
        except SluiceError as error:
            stages.finish(started.operation, "failed", str(error))
            raise
        row["outcome"] = "failed" if failure else "unchanged" if started.unchanged else "healthy"
        stages.finish(started.operation, row["outcome"], failure)
        return row, SluiceError(f"{name}: {failure}", remedy="see sluice status and the Flink UI") if failure else None
    except SluiceError as error:
        return row, error
    finally:
        client.close()


async def _pass_gates(project: Project, name: str, started: Started, tell: Any) -> str | None:
    """Wait at each gate; why the job doesn't pass, or None."""
    from sluice.health.gates import GATES  # noqa: PLC0415
    from sluice.operation.gate import GateOrder, readings  # noqa: PLC0415

    desired = project.desired(name)
    deadline = time.time() + desired.health.start_timeout.total_seconds()
    topics = tuple(topic.topic for topic in desired.reads.values())
    for gate in GATES:
        order = GateOrder(
            gate,
            project.flink_url,
            started.flink_job_id,
            topics,
            project.kafka,
            desired.group,
            desired.health,
            deadline,
        )
        async for reading in readings(order):
            tell(reading.words)
            if reading.hopeless:
                return reading.words
    return None
