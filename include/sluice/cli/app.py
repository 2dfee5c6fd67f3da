"""The commands of `sluice`. Each reads its arguments, calls the module that does the work, and prints the result.

A command imports its own modules itself, so that a deploy can start its client process before it loads the rest.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sluice.cli.output import print_json
from sluice.cli.request_options import takes_request
from sluice.errors import ConfigError
from sluice.plan.request import DeployRequest
from sluice.project import Project
from sluice.release.compiler import Ahead
from sluice.settings import Settings
from sluice.terminal import console, print_table, progress_printer, run

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    help="Deploys and watches PyFlink streaming jobs.",
    pretty_exceptions_enable=False,
)

Environment = Annotated[
    str | None, typer.Option("--environment", "-e", help="The file of deployments/ to use (SLUICE_ENVIRONMENT).")
]
Json = Annotated[bool, typer.Option("--json", help="Print only JSON on standard output.")]


def main() -> None:
    """The entry point `sluice`."""
    run(app)


Jobs = Annotated[list[str], typer.Argument(help="The jobs' names.", metavar="JOB...")]
OneJob = Annotated[str, typer.Argument(help="The job's name.", metavar="JOB")]
Settings_ = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the job, which overrides the deployment file's."),
]
Accepted = Annotated[bool, typer.Option(help="Allow overwriting and deleting rows of the live topic.")]
LostCluster = Annotated[
    bool,
    typer.Option(
        help="Confirm that no Flink job of it runs on the cluster where it was started, if that is not the current one "
        "and does not answer."
    ),
]
Reason = Annotated[str | None, typer.Option(help="The reason, which is recorded with the operation.")]


@app.command()
@takes_request("deploy", for_plan=True)
def plan(
    request: DeployRequest,
    jobs: Annotated[list[str] | None, typer.Argument(help="The jobs' names; none: all.", metavar="[JOB...]")] = None,
    environment: Environment = None,
    json: Json = False,
) -> None:
    """Show what a deploy would do, without changing anything."""
    from sluice.cli.operations import plan_jobs  # noqa: PLC0415

    plan_jobs(_project(environment), jobs or [], request, json=json)


@app.command()
@takes_request("deploy")
def deploy(request: DeployRequest, jobs: Jobs, environment: Environment = None, json: Json = False) -> None:
    """Deploy each job's desired release, wait until the job is within its limits, and roll back if it is not."""
    project = _project(environment)
    names = list(dict.fromkeys(jobs))
    for name in names:
        project.desired(name)  # raises an error of the file before anything is changed
    _operate(project, request, names, json=json, ahead="compile")


@app.command()
@takes_request("rollback")
def rollback(request: DeployRequest, job: OneJob, environment: Environment = None, json: Json = False) -> None:
    """Run a former release again, from the current state of the job."""
    _operate(_project(environment), request, [job], json=json, ahead="submit")


@app.command()
@takes_request("suspend")
def suspend(request: DeployRequest, job: OneJob, environment: Environment = None, json: Json = False) -> None:
    """Stop a job and keep its state, until it is resumed."""
    _operate(_project(environment), request, [job], json=json)


@app.command()
@takes_request("resume")
def resume(request: DeployRequest, job: OneJob, environment: Environment = None, json: Json = False) -> None:
    """Start a suspended job from the state that it stopped with."""
    _operate(_project(environment), request, [job], json=json, ahead="submit")


def _operate(
    project: Project, request: DeployRequest, jobs: list[str], *, json: bool, ahead: Ahead | None = None
) -> None:
    clients = {job: project.compiler(job, progress_printer(job), ahead=ahead) for job in jobs[:1] if ahead}
    from sluice.cli.operations import run_jobs  # noqa: PLC0415 - loaded while the client starts

    run_jobs(project, jobs, request, json=json, ahead=clients)


@app.command()
def forget(
    job: OneJob,
    environment: Environment = None,
    json: Json = False,
    confirm_lost_cluster: LostCluster = False,
) -> None:
    """Remove a stopped job without a file from the list of jobs; its history is kept."""
    from sluice.cli.operations import forget_job  # noqa: PLC0415

    forget_job(_project(environment), job, json=json, confirms_loss=confirm_lost_cluster)


@app.command()
def savepoint(job: OneJob, environment: Environment = None, json: Json = False, reason: Reason = None) -> None:
    """Take a savepoint of a running job, which keeps running."""
    from sluice.cli.operations import savepoint_job  # noqa: PLC0415

    savepoint_job(_project(environment), job, json=json, note=reason)


@app.command()
def history(job: OneJob, environment: Environment = None, json: Json = False) -> None:
    """Show a job's operations, newest first."""
    from sluice.cli.operations import show_history  # noqa: PLC0415

    show_history(_project(environment), job, json=json)


@app.command()
def approvals(job: OneJob, environment: Environment = None, json: Json = False) -> None:
    """Show the requests in Airflow to approve a plan of a job, newest first, with the answers."""
    from sluice.cli.operations import show_approvals  # noqa: PLC0415

    show_approvals(_project(environment), job, json=json)


@app.command()
def savepoints(job: OneJob, environment: Environment = None, json: Json = False) -> None:
    """Show a job's savepoints, newest first."""
    from sluice.cli.operations import show_savepoints  # noqa: PLC0415

    show_savepoints(_project(environment), job, json=json)


@app.command()
def backfill(
    job: OneJob,
    start: Annotated[str | None, typer.Option(help="Start of the range in event time; UTC without a zone.")] = None,
    end: Annotated[str | None, typer.Option(help="End of the range.")] = None,
    environment: Environment = None,
    json: Json = False,
    chunk: Annotated[str | None, typer.Option(help="Length of a chunk, e.g. 1h; default: one chunk.")] = None,
    parallel: Annotated[int, typer.Option(min=1, help="How many chunks run in parallel.")] = 1,
    output: Annotated[
        str, typer.Option(help="separate: a topic of its own; live: the live topic; or the name of another topic.")
    ] = "separate",
    settings: Settings_ = None,
    release: Annotated[int | None, typer.Option(min=1, help="The release to run; default: the live one.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="REPLAY", help="Run the unfinished chunks of this replay.")
    ] = None,
    cancel: Annotated[
        str | None, typer.Option(metavar="REPLAY", help="Cancel this replay and the Flink jobs of its chunks.")
    ] = None,
    confirm_lost_cluster: LostCluster = False,
    promote: Annotated[bool, typer.Option(help="Write the rows into the live topic afterwards.")] = False,
    accept_differences: Accepted = False,
    accept_missing: Annotated[
        bool, typer.Option(help="Allow a range of which Kafka may have deleted records.")
    ] = False,
    dry_run: Annotated[bool, typer.Option(help="Show the plan of the replay, without changing anything.")] = False,
    reason: Reason = None,
) -> None:
    """Replay a range of a job's history into a topic of its own, and compare its rows with the live ones."""
    from sluice.cli import replay as replays  # noqa: PLC0415

    project, then = _project(environment), replays.Promote(promote, accept_differences)
    if resume is not None and (dry_run or start or end):
        raise ConfigError("--resume continues a replay as it was planned", remedy="give --resume alone")
    if cancel is not None:
        if dry_run or start or end or resume or promote:
            raise ConfigError("--cancel can't be combined with other options", remedy="give --cancel alone")
        replays.cancel_backfill(project, job, cancel, json=json, confirms_loss=confirm_lost_cluster)
        return
    if resume is not None:
        replays.resume_backfill(project, job, resume, then, json=json)
        return
    if start is None or end is None:
        raise ConfigError("a backfill needs its range", remedy="give --start and --end, or --resume and a replay's id")
    asked = replays.replay_request(
        start,
        end,
        chunk=chunk,
        parallel=parallel,
        output=output,
        settings=settings,
        release=release,
        accept_missing=accept_missing,
        accept_differences=accept_differences,
    )
    if dry_run:
        replays.show_plan(project, job, asked, json=json)
    else:
        replays.backfill_job(project, job, asked, then, note=reason, json=json)


@app.command()
def promote(
    job: OneJob,
    replay: Annotated[str, typer.Argument(help="The replay's id, or its first characters.", metavar="REPLAY")],
    environment: Environment = None,
    json: Json = False,
    accept_differences: Accepted = False,
) -> None:
    """Write a replay's rows into the live topic, by key, in one transaction."""
    from sluice.cli.replay import promote_replay  # noqa: PLC0415

    promote_replay(_project(environment), job, replay, accept_differences=accept_differences, json=json)


@app.command()
def replays(job: OneJob, environment: Environment = None, json: Json = False) -> None:
    """Show a job's replays, newest first."""
    from sluice.cli.replay import show_replays  # noqa: PLC0415

    show_replays(_project(environment), job, json=json)


@app.command()
def status(
    jobs: Annotated[list[str] | None, typer.Argument(help="The jobs' names; none: all.", metavar="[JOB...]")] = None,
    environment: Environment = None,
    json: Json = False,
    watch: Annotated[bool, typer.Option("--watch", help="Repeat until interrupted.")] = False,
    every: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="With --watch: the interval.")] = 5,
) -> None:
    """Show each job's state, release, verdict and metrics."""
    from sluice.cli.fleet import show_fleet, watch_fleet  # noqa: PLC0415

    project = _project(environment)
    if watch:
        watch_fleet(project, jobs or [], every, json=json)
    else:
        show_fleet(project, jobs or [], json=json)


@app.command()
def metrics(
    environment: Environment = None,
    sweep: Annotated[
        bool, typer.Option("--sweep", help="Run and record a sweep now, instead of printing the last one.")
    ] = False,
) -> None:
    """Print the last sweep of the fleet as Prometheus metrics."""
    from sluice.cli.fleet import show_metrics  # noqa: PLC0415

    show_metrics(_project(environment), sweep=sweep)


@app.command()
def doctor(environment: Environment = None, json: Json = False) -> None:
    """Check all requirements, versions and addresses, and show a remedy for each problem."""
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
    return Settings(environment=environment) if environment else Settings()


def _project(environment: str | None) -> Project:
    return Project(_settings(environment))
