"""A whole replay in one process, as the shell does it; and its beginning and end, which Airflow's tasks share."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sluice.errors import OperationError, RefusedError, SluiceError, UnreachableError
from sluice.ledger.replay_tables import Replay, ReplayChunk
from sluice.operation.holder import is_gone, shell_holder
from sluice.project import Project
from sluice.replay.chunk import Chunk, Progress, progress_of
from sluice.replay.model import ReplayPlan, ReplayRequest, ends_told, explain_replay
from sluice.replay.parity import read_sides, refuse_expired, rows_by_chunk
from sluice.replay.preflight import asks_for, output_ends, plan_replay
from sluice.replay.slots import OutageTimeout

Tell = Callable[[str], None]
_ATTEMPTS = 3
"""How often a chunk is tried in one run of the shell's: a TaskManager may get lost."""
_PAUSE = 10.0
"""Seconds between two attempts."""
_PATIENCE = 600.0
"""Seconds that cluster and brokers may leave us without an answer: what is restarted takes some."""
_WORDS = 60.0
"""Seconds between two lines about a chunk that waits."""
_TURN = 2.0
"""Seconds between two looks whether it is a chunk's turn."""
_SHARE = 0.1
"""Of a chunk's records: how much further it must be to be told of."""


def begin_replay(
    project: Project, job: str, request: ReplayRequest, holder: str, note: str | None, tell: Tell
) -> Replay:
    """Plan a replay and enter it in the ledger; the holder's own that has not come to a good end goes on.

    Where another release is to run meanwhile, or something else is asked for, it is ended and planned anew: it may have
    failed by what was mended since.

    Args:
        project: The project.
        job: The job's name.
        request: What is asked for.
        holder: Who does it, under a name that nobody else has or will have.
        note: The reason that was given.
        tell: Where progress goes.

    Raises:
        RefusedError: it can't be done; nothing was touched.
        UnreachableError: the cluster or the broker doesn't answer.
    """
    if found := project.ledger.replays.unfinished(job, holder):
        if asks_for(project, ReplayPlan.model_validate(found.plan), request):
            tell(f"goes on with replay {found.id[:8]}")
            return project.ledger.replays.reopen(found.id)
        tell(f"replay {found.id[:8]} is given up: another release is to run now, or something else is asked for")
        cancel_replay(project, found, tell)
    plan = plan_replay(project, job, request)
    for line in explain_replay(plan):
        tell(line)
    names = [chunk.name for chunk in plan.chunks]
    return project.ledger.replays.add(
        plan.id, job, holder, plan.release, plan.model_dump(mode="json"), names, note or None
    )


def find_replay(project: Project, job: str, identity: str) -> Replay:
    """A job's replay by its id, or by the beginning of it.

    Raises:
        RefusedError: it is none of the job's.
    """
    try:
        found = project.ledger.replays.find(identity)
    except OperationError as error:
        raise RefusedError(error.message, remedy=f"see sluice replays {job}") from error
    if found.job != job:
        raise RefusedError(f"replay {identity} is one of {found.job}, not of {job}", remedy=f"see sluice replays {job}")
    return found


def resume_replay(project: Project, job: str, identity: str, holder: str) -> Replay:
    """Let a replay go on whose chunks have not all finished; one that has completed stays as it is.

    Args:
        project: The project.
        job: The job's name.
        identity: The replay's id, or the beginning of it.
        holder: Who goes on with it: it is that one's from now on.

    Raises:
        RefusedError: it is none of the job's; or another replay has written its rows anew.
    """
    return project.ledger.replays.reopen(find_replay(project, job, identity).id, holder)


def run_chunks(project: Project, replay: Replay, tell: Tell) -> None:
    """Run every chunk that has not finished, as many side by side as the plan says; a failed one is tried again.

    Interrupted, it ends their Flink jobs.

    Raises:
        SluiceError: one could not be run; the others have been, unless nothing can be.
    """
    plan = ReplayPlan.model_validate(replay.plan)
    problems: list[SluiceError] = []
    ends = threading.Event()

    def one(chunk: Chunk) -> None:
        if ends.is_set() or any(isinstance(problem, RefusedError) for problem in problems):
            return
        try:
            _run(project, chunk, tell, ends)
        except SluiceError as error:
            problems.append(error)

    with ThreadPoolExecutor(plan.parallel) as pool:
        try:
            for done in [pool.submit(one, _chunk(project, plan, part.number, tell)) for part in plan.chunks]:
                done.result()
        except BaseException:
            ends.set()
            try:
                cancel_replay(project, replay, tell)
            except SluiceError as error:
                tell(f"{error}; tried once more")
            pool.shutdown(cancel_futures=True)
            # One that was just being submitted, and what did not end the first time.
            cancel_replay(project, replay, tell)
            raise
    if problems:
        project.ledger.replays.ended(replay.id, "failed")
        raise problems[0]


def finish_replay(project: Project, replay: Replay, tell: Tell) -> dict[str, Any]:
    """Count the rows, hold them against the live ones, and end the replay; the report.

    Raises:
        OperationError: a chunk has not finished.
        RefusedError: some of its rows are gone already.
    """
    plan = ReplayPlan.model_validate(replay.plan)
    rows = project.ledger.replays.chunks(replay.id)
    if left := [row for row in rows if row.state != "finished"]:
        raise OperationError(
            f"replay {replay.id[:8]} of {replay.job}: {len(left)} of {len(rows)} chunks have not finished: "
            f"{left[0].reason or left[0].state}",
            remedy=f"run them again: sluice backfill {replay.job} --resume {replay.id[:8]}, or clear their tasks",
        )
    kept = project.ledger.replays.reopen(replay.id)
    try:
        # What others write afterwards into a topic that was there before is not of it.
        ends = ends_told(kept.report) if kept.outcome == "completed" else None
        report = _report(project, plan, rows, ends or output_ends(project, plan.outputs), tell)
        # A report that is there stays: it is what a promotion is held against. The first one must be of all rows.
        refuse_expired(project, replay, plan, report["rows"])
    except SluiceError:
        # Nobody else's rows are in its way then; whoever asks for the report again lets it go on.
        project.ledger.replays.ended(replay.id, "failed")
        raise
    project.ledger.replays.ended(replay.id, "completed", report)
    return report


def cancel_replay(project: Project, replay: Replay, tell: Tell, *, confirms_loss: bool = False) -> None:
    """End a replay and the Flink jobs of its chunks, whoever has begun them.

    Args:
        project: The project.
        replay: Which.
        tell: Where progress goes.
        confirms_loss: A person has confirmed that nothing of it runs on the cluster where it was started.

    Raises:
        RefusedError: it has completed.
        OperationError: some don't end; the others have.
    """
    project.ledger.replays.ended(replay.id, "cancelled")
    _end_all(project, _begun_of(project, replay), tell, confirms_loss=confirms_loss)


def end_chunks(project: Project, replay: Replay, takers: str, tell: Tell) -> list[str]:
    """End what some takers have begun of a replay and not seen to its end; the replay itself can be resumed.

    Returns the names of the chunks that were ended. A replay some of whose chunks have not finished has failed then.

    Args:
        project: The project.
        replay: Which.
        takers: What their names begin with.
        tell: Where progress goes.

    Raises:
        OperationError: some don't end; the others have.
    """
    rows = [row for row in _begun_of(project, replay) if row.taker and row.taker.startswith(takers)]
    ended = _end_all(project, rows, tell)
    chunks = project.ledger.replays.chunks(replay.id)
    if any(row.state != "finished" for row in chunks) and not _begun_of(project, replay):
        project.ledger.replays.ended(replay.id, "failed")
    return ended


def end_abandoned(project: Project, is_over: Callable[[str], bool], tell: Tell) -> list[str]:
    """End the chunks of all replays that nobody sees to any more; a replay that has none left has failed.

    Returns why some could not be ended; whoever looks next tries again.

    Args:
        project: The project.
        is_over: Whether a taker of chunks, or a holder of replays, is known to have ended.
        tell: Where progress goes.
    """
    rows = [row for row in project.ledger.replays.begun() if row.taker and is_over(row.taker)]
    problems = _try_to_end(project, rows, tell)
    for replay in project.ledger.replays.unfinished_ones():
        if is_over(replay.holder) and not _begun_of(project, replay):
            project.ledger.replays.ended(replay.id, "failed")
            tell(f"replay {replay.id[:8]} of {replay.job} was given up by {replay.holder}")
    return problems


def _begun_of(project: Project, replay: Replay) -> list[ReplayChunk]:
    return [row for row in project.ledger.replays.begun() if row.replay == replay.id]


def _end_all(project: Project, rows: list[ReplayChunk], tell: Tell, *, confirms_loss: bool = False) -> list[str]:
    if problems := _try_to_end(project, rows, tell, confirms_loss=confirms_loss):
        raise OperationError(
            f"{len(problems)} of {len(rows)} chunks that were to end go on: {' | '.join(problems)}",
            remedy="end their Flink jobs in the Flink UI, or try again",
        )
    return [row.name for row in rows]


def _try_to_end(project: Project, rows: list[ReplayChunk], tell: Tell, *, confirms_loss: bool = False) -> list[str]:
    """Why some could not be ended: one that doesn't end keeps none of the others."""
    problems = []
    for row in rows:
        try:
            _end(project, row, tell, confirms_loss=confirms_loss)
        except SluiceError as error:
            problems.append(f"{row.name} was given up, and goes on: {error}")
            if isinstance(error, UnreachableError):
                # Each further one would take as long as this one to find no answer.
                break
    return problems


def _end(project: Project, row: ReplayChunk, tell: Tell, *, confirms_loss: bool) -> str:
    plan = ReplayPlan.model_validate(project.ledger.replays.find(row.replay).plan)
    Chunk(project, plan, row.number, tell, taker=row.taker or "").cancel(confirms_loss=confirms_loss)
    return row.name


def _chunk(project: Project, plan: ReplayPlan, number: int, tell: Tell) -> Chunk:
    return Chunk(project, plan, number, tell, taker=shell_holder(), is_gone=is_gone)


def _run(project: Project, chunk: Chunk, tell: Tell, ends: threading.Event) -> None:
    attempt, patience = 1, OutageTimeout(_PATIENCE)
    while True:
        try:
            _try(project, chunk, tell, ends, patience)
        except RefusedError:
            raise
        except UnreachableError as error:
            # Nothing of the chunk has failed, and it may well run.
            if ends.is_set():
                raise
            patience.endure(error)
            tell(f"{error}; asked again in {_PAUSE:.0f} s")
        except SluiceError as error:
            if ends.is_set() or attempt == _ATTEMPTS:
                raise
            attempt += 1
            patience.answered()
            tell(f"{error}; attempt {attempt} of {_ATTEMPTS} in {_PAUSE:.0f} s")
        else:
            return
        ends.wait(_PAUSE)


def _try(project: Project, chunk: Chunk, tell: Tell, ends: threading.Event, patience: OutageTimeout) -> None:
    flink_job_id = _begun(chunk, tell, ends, patience)
    patience.answered()
    if ends.is_set():
        chunk.cancel()
    elif flink_job_id is not None:
        progress = asyncio.run(_wait(project, chunk, flink_job_id, tell, ends))
        if progress is not None and (progress.is_over or not ends.is_set()):
            chunk.conclude(flink_job_id, progress)


def _begun(chunk: Chunk, tell: Tell, ends: threading.Event, patience: OutageTimeout) -> str | None:
    """The Flink job to wait for, once it is the chunk's turn; None: there is nothing to wait for."""
    next_words = 0.0
    while not ends.is_set():
        if found := chunk.begin(ends.is_set):
            return found
        patience.answered()
        if chunk.row.state == "finished":
            break
        if chunk.waits_for and time.monotonic() > next_words:
            next_words = time.monotonic() + _WORDS
            tell(chunk.waits_for)
        ends.wait(_TURN)
    return None


async def _wait(
    project: Project, chunk: Chunk, flink_job_id: str, tell: Tell, ends: threading.Event
) -> Progress | None:
    """How it has ended, or stood when it was to end: whoever says so ends the Flink job. None: nobody has looked."""
    told, begun = 0.0, time.monotonic()
    progress: Progress | None = None
    async with contextlib.aclosing(progress_of(project.flink, flink_job_id, ends.is_set)) as looks:
        async for progress in looks:
            share = (progress.records or 0) / chunk.part.records
            if share >= told + _SHARE and not progress.is_over:
                told = share
                chunk.read(progress.records or 0)
                tell(f"{chunk.part.name}: {progress.describe(chunk.part.records, time.monotonic() - begun)}")
    return progress


def _report(
    project: Project, plan: ReplayPlan, rows: list[ReplayChunk], ends: dict[str, dict[int, int]], tell: Tell
) -> dict[str, Any]:
    job = project.catalog.job(plan.job)
    counts = dict.fromkeys((chunk.number for chunk in plan.chunks), 0)
    parity: dict[str, Any] | None = None if plan.output == "live" else {}
    for sink in plan.outputs:
        sides = read_sides(project, job, plan, sink, ends[sink])
        for number, count in rows_by_chunk(plan, sides.replayed.values()).items():
            counts[number] += count
        if parity is not None:
            found = sides.parity
            parity[sink] = found.model_dump(mode="json")
            tell(f"{plan.outputs[sink]} against the live topic: {found.words}")
    return {
        "job": plan.job,
        "replay": plan.id,
        "release": plan.release,
        "range": {"start": plan.start.isoformat(), "end": plan.end.isoformat()},
        "chunks": [
            {
                "number": row.number,
                "start": plan.chunk(row.number).since.isoformat(),
                "end": plan.chunk(row.number).before.isoformat(),
                "records": row.records,
                "rows": counts[row.number],
                "attempts": row.attempt,
            }
            for row in rows
        ],
        "output_topic": next(iter(plan.outputs.values())) if len(plan.outputs) == 1 else plan.outputs,
        "records": sum(row.records or 0 for row in rows),
        "rows": sum(counts.values()),
        "output_ends": ends,
        "parity": parity,
    }
