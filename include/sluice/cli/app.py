"""The commands. Each reads its arguments, does its work through the product's own modules, and prints.

What a command alone needs is imported in it: a deploy starts its client process before it loads the rest.
"""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from sluice.cli.output import print_json
from sluice.compiler import Compiler
from sluice.errors import ConfigError
from sluice.project import Project
from sluice.settings import Settings
from sluice.terminal import console, print_table, progress_printer, run

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


def main() -> None:
    """The entry point `sluice`."""
    run(app)


Jobs = Annotated[list[str], typer.Argument(help="The jobs' names.", metavar="JOB...")]
OneJob = Annotated[str, typer.Argument(help="The job's name.", metavar="JOB")]
Mode = Annotated[
    str | None, typer.Option("--mode", help="How the old job hands over: savepoint, last-state or stateless.")
]
Settings_ = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting of the job, over the deployment file's."),
]
ClearOverrides = Annotated[bool, typer.Option(help="Take back settings that former runs gave.")]
Grow = Annotated[bool, typer.Option(help="Add partitions where a topic has too few.")]
ChangeTopics = Annotated[bool, typer.Option(help="Change a topic's settings to the declared ones.")]
Approved = Annotated[
    bool, typer.Option("--allow-state-loss", help="Approve a plan that loses state or has no way back.")
]
Accepted = Annotated[bool, typer.Option(help="Rows of the live topic may be overwritten and deleted.")]
LostCluster = Annotated[
    bool,
    typer.Option(
        help="Confirm that nothing of the job runs any more on the cluster where it was started, which is another one "
        "than today's and can't be asked."
    ),
]
Reason = Annotated[str | None, typer.Option(help="Why; kept with the operation.")]


@app.command()
def plan(
    jobs: Annotated[list[str] | None, typer.Argument(help="The jobs' names; none: all.", metavar="[JOB...]")] = None,
    environment: Environment = None,
    json: Json = False,
    mode: Mode = None,
    settings: Settings_ = None,
    clear_overrides: ClearOverrides = False,
    grow_partitions: Grow = False,
    change_topics: ChangeTopics = False,
    confirm_lost_cluster: LostCluster = False,
) -> None:
    """Show what a deploy would do, and touch nothing."""
    from sluice.cli.operations import plan_jobs, request  # noqa: PLC0415

    project = _project(environment)
    asked = request(
        "deploy",
        mode,
        settings,
        clear=clear_overrides,
        grow=grow_partitions,
        change=change_topics,
        confirm_lost_cluster=confirm_lost_cluster,
    )
    plan_jobs(project, jobs or [], asked, json=json)


@app.command()
def deploy(
    jobs: Jobs,
    environment: Environment = None,
    json: Json = False,
    mode: Mode = None,
    settings: Settings_ = None,
    clear_overrides: ClearOverrides = False,
    allow_state_loss: Approved = False,
    wake: Annotated[bool, typer.Option(help="Also start a suspended job.")] = False,
    confirm_lost_cluster: LostCluster = False,
    grow_partitions: Grow = False,
    change_topics: ChangeTopics = False,
    reason: Reason = None,
) -> None:
    """Bring each job to what is desired, and wait until it is inside its limits; otherwise it goes back."""
    project = _project(environment)
    names = list(dict.fromkeys(jobs))
    for name in names:
        project.desired(name)  # refused before anything is touched
    ahead = {name: Compiler(project, name, progress_printer(name), ahead=True) for name in names[:1]}
    from sluice.cli.operations import request, run_jobs  # noqa: PLC0415 - loaded while the client starts

    asked = request(
        "deploy",
        mode,
        settings,
        clear=clear_overrides,
        grow=grow_partitions,
        change=change_topics,
        wake=wake,
        confirm_lost_cluster=confirm_lost_cluster,
    )
    run_jobs(project, names, asked, json=json, approved=allow_state_loss, note=reason, ahead=ahead)


@app.command()
def rollback(
    job: OneJob,
    to: Annotated[int | None, typer.Option(help="The release; default: the healthy one before.")] = None,
    environment: Environment = None,
    json: Json = False,
    mode: Mode = None,
    allow_state_loss: Approved = False,
    confirm_lost_cluster: LostCluster = False,
    reason: Reason = None,
) -> None:
    """Run a former release again, from the state that the job has now."""
    from sluice.cli.operations import request, run_jobs  # noqa: PLC0415

    asked = request("rollback", mode, None, to=to, confirm_lost_cluster=confirm_lost_cluster)
    run_jobs(_project(environment), [job], asked, json=json, approved=allow_state_loss, note=reason)


@app.command()
def suspend(
    job: OneJob,
    environment: Environment = None,
    json: Json = False,
    mode: Mode = None,
    confirm_lost_cluster: LostCluster = False,
    reason: Reason = None,
) -> None:
    """Stop a job with its state kept, until it is resumed."""
    from sluice.cli.operations import request, run_jobs  # noqa: PLC0415

    asked = request("suspend", mode, None, confirm_lost_cluster=confirm_lost_cluster)
    run_jobs(_project(environment), [job], asked, json=json, note=reason)


@app.command()
def resume(
    job: OneJob,
    environment: Environment = None,
    json: Json = False,
    confirm_lost_cluster: LostCluster = False,
    reason: Reason = None,
) -> None:
    """Start a suspended job from the state that it stopped with."""
    from sluice.cli.operations import request, run_jobs  # noqa: PLC0415

    asked = request("resume", None, None, confirm_lost_cluster=confirm_lost_cluster)
    run_jobs(_project(environment), [job], asked, json=json, note=reason)


@app.command()
def forget(
    job: OneJob,
    environment: Environment = None,
    json: Json = False,
    confirm_lost_cluster: LostCluster = False,
) -> None:
    """Take a job off the list whose file was removed, and of which nothing runs; its history stays."""
    from sluice.cli.operations import forget_job  # noqa: PLC0415

    forget_job(_project(environment), job, json=json, confirms_loss=confirm_lost_cluster)


@app.command()
def savepoint(job: OneJob, environment: Environment = None, json: Json = False, reason: Reason = None) -> None:
    """Take a savepoint of a running job, which runs on."""
    from sluice.cli.operations import savepoint_job  # noqa: PLC0415

    savepoint_job(_project(environment), job, json=json, note=reason)


@app.command()
def history(job: OneJob, environment: Environment = None, json: Json = False) -> None:
    """Show a job's operations, newest first."""
    from sluice.cli.operations import show_history  # noqa: PLC0415

    show_history(_project(environment), job, json=json)


@app.command()
def approvals(job: OneJob, environment: Environment = None, json: Json = False) -> None:
    """Show a job's plans that a person was asked about in Airflow, newest first, with the answers."""
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
    start: Annotated[str | None, typer.Option(help="Where the range of event time begins, UTC unless said.")] = None,
    end: Annotated[str | None, typer.Option(help="Where it ends.")] = None,
    environment: Environment = None,
    json: Json = False,
    chunk: Annotated[str | None, typer.Option(help="Length of a chunk, e.g. 1h; default: all in one.")] = None,
    parallel: Annotated[int, typer.Option(min=1, help="How many chunks run side by side.")] = 1,
    output: Annotated[
        str, typer.Option(help="separate: a topic of its own; live: the live one; or the name of another.")
    ] = "separate",
    settings: Settings_ = None,
    release: Annotated[int | None, typer.Option(min=1, help="Which release runs it; default: the live one.")] = None,
    resume: Annotated[
        str | None, typer.Option(metavar="REPLAY", help="Run again what has not finished of this one.")
    ] = None,
    cancel: Annotated[
        str | None, typer.Option(metavar="REPLAY", help="End this one, and the Flink jobs of its chunks.")
    ] = None,
    confirm_lost_cluster: LostCluster = False,
    promote: Annotated[bool, typer.Option(help="Write the rows into the live topic afterwards.")] = False,
    accept_differences: Accepted = False,
    accept_missing: Annotated[bool, typer.Option(help="Also where Kafka may have deleted some of the range.")] = False,
    dry_run: Annotated[bool, typer.Option(help="Show what it would do, and touch nothing.")] = False,
    reason: Reason = None,
) -> None:
    """Replay a range of a job's history into a topic of its own, and hold the rows against the live ones."""
    from sluice.cli import replay as replays  # noqa: PLC0415

    project, then = _project(environment), replays.Promote(promote, accept_differences)
    if resume is not None and (dry_run or start or end):
        raise ConfigError("--resume goes on with a replay as it was planned", remedy="give --resume alone")
    if cancel is not None:
        if dry_run or start or end or resume or promote:
            raise ConfigError("--cancel ends a replay, and does nothing else", remedy="give --cancel alone")
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
    replay: Annotated[str, typer.Argument(help="The replay's id, or its first letters.", metavar="REPLAY")],
    environment: Environment = None,
    json: Json = False,
    accept_differences: Accepted = False,
) -> None:
    """Write a replay's rows into the live topic, by key, all or none."""
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
    watch: Annotated[bool, typer.Option("--watch", help="Look again and again, until interrupted.")] = False,
    every: Annotated[float, typer.Option(min=1, metavar="SECONDS", help="With --watch: how often.")] = 5,
) -> None:
    """Show each job: its state, release, verdict and figures."""
    from sluice.cli.fleet import show_fleet, watch_fleet  # noqa: PLC0415

    project = _project(environment)
    if watch:
        watch_fleet(project, jobs or [], every, json=json)
    else:
        show_fleet(project, jobs or [], json=json)


@app.command()
def metrics(
    environment: Environment = None,
    sweep: Annotated[bool, typer.Option("--sweep", help="Look now, and record it, instead of the last time.")] = False,
) -> None:
    """Print the last sweep of the fleet as Prometheus metrics."""
    from sluice.cli.fleet import show_metrics  # noqa: PLC0415

    show_metrics(_project(environment), sweep=sweep)


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
    return Settings(environment=environment) if environment else Settings()


def _project(environment: str | None) -> Project:
    return Project(_settings(environment))
