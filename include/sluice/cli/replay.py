"""Run and show replays from the shell."""

from __future__ import annotations

import signal
import sys
import uuid
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sluice.cli.output import print_json
from sluice.cli.request_options import setting
from sluice.errors import ConfigError, SluiceError
from sluice.ledger.replay_tables import ReplayRun
from sluice.operation.holder import shell_holder
from sluice.project import Project
from sluice.replay.model import OutputKind, ReplayPlan, ReplayRequest, explain_replay, read_length, read_moment
from sluice.replay.preflight import plan_replay
from sluice.replay.promote import promote
from sluice.replay.run import begin_replay, cancel_replay, find_replay, finish_replay, resume_replay, run_chunks
from sluice.terminal import console, print_table, progress_printer


@dataclass(frozen=True)
class Promote:
    """Whether to write the rows into the live topic afterwards, and whether they may replace and delete rows there."""

    asked: bool
    accept_differences: bool


def replay_request(
    start: str,
    end: str,
    *,
    chunk: str | None,
    parallel: int,
    output: str,
    settings: Sequence[str] | None,
    release: int | None,
    accept_missing: bool,
    accept_differences: bool,
) -> ReplayRequest:
    """The request of the given options.

    Raises:
        ConfigError: a time or a duration can't be parsed.
    """
    return ReplayRequest(
        start=read_moment("--start", start),
        end=read_moment("--end", end),
        chunk=read_length("--chunk", chunk) if chunk else None,
        parallel=parallel,
        output=output,
        overrides=dict(map(setting, settings or ())),
        release=release,
        accept_missing=accept_missing,
        accept_differences=accept_differences,
    )


def show_plan(project: Project, job: str, asked: ReplayRequest, *, json: bool) -> None:
    """Print the plan of a replay, without running it."""
    plan = plan_replay(project, job, asked)
    if json:
        print_json(plan.model_dump(mode="json"))
    else:
        console.print("\n".join(explain_replay(plan)), markup=False)


def backfill_job(
    project: Project, job: str, asked: ReplayRequest, then: Promote, *, note: str | None, json: bool
) -> None:
    """Run a replay from its plan to its report."""
    _refuse_live(asked, then)
    _complete(project, begin_replay(project, job, asked, _holder(), note, progress_printer(job)), then, json=json)


def resume_backfill(project: Project, job: str, identity: str, then: Promote, *, json: bool) -> None:
    """Run the unfinished chunks of a replay, and print its report."""
    _complete(project, resume_replay(project, job, identity, _holder()), then, json=json)


def cancel_backfill(project: Project, job: str, identity: str, *, json: bool, confirms_loss: bool = False) -> None:
    """Cancel a replay, also one that another process runs."""
    replay = find_replay(project, job, identity)
    cancel_replay(project, replay, progress_printer(job), confirms_loss=confirms_loss)
    if json:
        print_json(_summary(project.ledger.replays.find(replay.id)))
    console.print(f"replay {replay.id[:8]} of {job} was cancelled", markup=False)


def promote_replay(project: Project, job: str, identity: str, *, accept_differences: bool, json: bool) -> None:
    """Write a replay's rows into the live topic."""
    rows = _promote(project, find_replay(project, job, identity), accept_differences=accept_differences)
    if json:
        print_json(rows)
    print_table("Promoted", ("topic", "written", "deleted"), [list(row.values()) for row in rows])


def show_replays(project: Project, job: str, *, json: bool) -> None:
    """Print the job's replays, newest first."""
    rows = [_summary(replay) for replay in project.ledger.replays.of(job)]
    if json:
        print_json(rows)
        return
    columns = ("replay", "start", "end", "release", "outcome", "records", "rows", "promoted_at", "note")
    print_table(f"Replays of {job}", columns, [[row[name] for name in columns] for row in rows])


def _holder() -> str:
    """The holder of a replay, with a random part: no later process continues as this holder."""
    return f"{shell_holder()}/{uuid.uuid4().hex[:8]}"


def _refuse_live(asked: ReplayRequest, then: Promote) -> None:
    if then.asked and asked.output == OutputKind.LIVE:
        raise ConfigError("a replay into the live topic has nothing to promote", remedy="leave out --promote")


def _complete(project: Project, replay: ReplayRun, then: Promote, *, json: bool) -> None:
    log = progress_printer(replay.job)
    # Exit as on an interrupt, so that the Flink jobs of the chunks are cancelled.
    signal.signal(signal.SIGTERM, lambda _signal, _frame: sys.exit(1))
    run_chunks(project, replay, log)
    report = finish_replay(project, replay, log)
    problem: SluiceError | None = None
    if then.asked:
        again = project.ledger.replays.find(replay.id)
        try:
            done = _promote(project, again, accept_differences=then.accept_differences)
        except SluiceError as error:
            problem, done = error, []
        report = {**report, "promoted": done}
    if json:
        print_json(report)
    columns = ("number", "start", "end", "records", "rows", "attempts")
    print_table(
        f"Replay {replay.id[:8]} of {replay.job}",
        columns,
        [[chunk[name] for name in columns] for chunk in report["chunks"]],
    )
    console.print(f"output: {report['output_topic']}")
    if problem is not None:
        raise problem
    if not then.asked and report["parity"] is not None:
        console.print(f"to write it into the live topic:  sluice promote {replay.job} {replay.id[:8]}")


def _promote(project: Project, replay: ReplayRun, *, accept_differences: bool) -> list[dict[str, Any]]:
    done = promote(project, replay, progress_printer(replay.job), accept_differences=accept_differences)
    return [asdict(promotion) for promotion in done]


def _summary(replay: ReplayRun) -> dict[str, Any]:
    plan = ReplayPlan.model_validate(replay.plan)
    return {
        "replay": replay.id[:8],
        "start": plan.start.isoformat(),
        "end": plan.end.isoformat(),
        "release": replay.release,
        "outcome": replay.outcome,
        "records": replay.records,
        "rows": replay.report["rows"] if replay.report else None,
        "promoted_at": replay.promoted_at.isoformat() if replay.promoted_at else None,
        "note": replay.note,
    }
