"""A whole replay in one process, as the CLI runs it; its start, its report and its cancelling, which Airflow shares."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from sluice.clock import Clock
from sluice.errors import OperationError, RefusedError, SluiceError, UnreachableError
from sluice.ledger.replay_tables import ChunkState, ReplayChunk, ReplayOutcome, ReplayRun
from sluice.operation.holder import is_gone, shell_holder
from sluice.project import Project
from sluice.replay.chunk import Chunk
from sluice.replay.model import Log, OutputKind, ReplayPlan, ReplayRequest, explain_replay, reported_ends
from sluice.replay.outputs import output_ends
from sluice.replay.parity import read_sides, refuse_expired, rows_by_chunk
from sluice.replay.preflight import is_plan_of, plan_replay
from sluice.replay.progress import ChunkProgress, watch_chunk
from sluice.replay.slots import OutageTimeout

_ATTEMPTS = 3
"""Attempts of a chunk in one run of the CLI: a TaskManager may be lost."""
_PAUSE = 10.0
"""Seconds between two attempts."""
_OUTAGE_TIMEOUT = 600.0
"""Seconds: longer than cluster and brokers take to restart."""
_LOG_INTERVAL = 60.0
"""Seconds between two messages about a queued chunk."""
_QUEUE_PAUSE = 2.0
"""Seconds between two claims of a queued chunk."""
_LOG_SHARE = 0.1
"""The share of a chunk's records after which its progress is logged again."""


def begin_replay(
    project: Project, job: str, request: ReplayRequest, holder: str, note: str | None, log: Log
) -> ReplayRun:
    """Plan a replay and add it to the ledger, or resume the holder's own one that has not completed.

    If the request differs from that one's, or another release runs now, that one is cancelled and a new one planned:
    it may have failed because of what has changed since.

    Args:
        project: The project.
        job: The job's name.
        request: The range, its chunks, the output and the settings.
        holder: A unique name of the DAG run, task or process that runs the replay; the same for each retry.
        note: The reason that the person gave.
        log: Takes progress messages.

    Raises:
        RefusedError: the replay can't be done; nothing was changed.
        UnreachableError: the cluster or the brokers don't answer.
    """
    if found := project.ledger.replays.unfinished(job, holder):
        if is_plan_of(project, ReplayPlan.model_validate(found.plan), request):
            log(f"resumes replay {found.id[:8]}")
            return project.ledger.replays.reopen(found.id)
        log(f"replay {found.id[:8]} is cancelled: the request has changed, or another release runs now")
        cancel_replay(project, found, log)
    plan = plan_replay(project, job, request)
    for line in explain_replay(plan):
        log(line)
    names = [chunk.name for chunk in plan.chunks]
    return project.ledger.replays.add(
        plan.id, job, holder, plan.release, plan.model_dump(mode="json"), names, note or None
    )


def find_replay(project: Project, job: str, identity: str) -> ReplayRun:
    """A replay of a job by its id, or by the beginning of the id.

    Raises:
        RefusedError: the job has no such replay.
    """
    try:
        found = project.ledger.replays.find(identity)
    except OperationError as error:
        raise RefusedError(error.message, remedy=f"see sluice replays {job}") from error
    if found.job != job:
        raise RefusedError(
            f"replay {identity} belongs to {found.job}, not to {job}", remedy=f"see sluice replays {job}"
        )
    return found


def resume_replay(project: Project, job: str, identity: str, holder: str) -> ReplayRun:
    """Resume a replay some of whose chunks have not finished; a completed one stays as it is.

    Args:
        project: The project.
        job: The job's name.
        identity: The replay's id, or the beginning of it.
        holder: The replay's holder from now on; see `begin_replay`.

    Raises:
        RefusedError: the job has no such replay, or another one has since written the same rows.
    """
    return project.ledger.replays.reopen(find_replay(project, job, identity).id, holder)


def run_chunks(project: Project, replay: ReplayRun, log: Log) -> None:
    """Run every chunk that has not finished, as many in parallel as the plan says; a failed one is retried.

    An interrupt cancels their Flink jobs.

    Args:
        project: The project.
        replay: The replay.
        log: Takes progress messages.

    Raises:
        SluiceError: of the first chunk that failed; the others ran, except after a RefusedError.
    """
    plan = ReplayPlan.model_validate(replay.plan)
    problems: list[SluiceError] = []
    stop = threading.Event()

    def one(chunk: Chunk) -> None:
        if stop.is_set() or any(isinstance(problem, RefusedError) for problem in problems):
            return
        try:
            _run(project, chunk, log, stop)
        except SluiceError as error:
            problems.append(error)

    with ThreadPoolExecutor(plan.parallel) as pool:
        try:
            for done in [pool.submit(one, _chunk(project, plan, part.number, log)) for part in plan.chunks]:
                done.result()
        except BaseException:
            stop.set()
            try:
                cancel_replay(project, replay, log)
            except SluiceError as error:
                log(f"{error}; tries once more")
            pool.shutdown(cancel_futures=True)
            # Once more, for a chunk that was being submitted and for those that didn't end the first time.
            cancel_replay(project, replay, log)
            raise
    if problems:
        project.ledger.replays.ended(replay.id, ReplayOutcome.FAILED)
        raise problems[0]


def finish_replay(project: Project, replay: ReplayRun, log: Log) -> dict[str, Any]:
    """Count the rows, compare them with the live ones, and record the replay as completed; its report.

    Args:
        project: The project.
        replay: The replay.
        log: Takes progress messages.

    Raises:
        OperationError: a chunk has not finished.
        RefusedError: Kafka has deleted some of its rows.
        UnreachableError: the brokers don't answer.
    """
    plan = ReplayPlan.model_validate(replay.plan)
    rows = project.ledger.replays.chunks(replay.id)
    if left := [row for row in rows if row.state is not ChunkState.FINISHED]:
        raise OperationError(
            f"replay {replay.id[:8]} of {replay.job}: {len(left)} of {len(rows)} chunks have not finished: "
            f"{left[0].reason or left[0].state}",
            remedy=f"run them again: sluice backfill {replay.job} --resume {replay.id[:8]}, or clear their tasks",
        )
    kept = project.ledger.replays.reopen(replay.id)
    try:
        # In a topic that existed before, rows beyond the first report's end offsets belong to other writers.
        ends = reported_ends(kept.report) if kept.outcome is ReplayOutcome.COMPLETED else None
        report = _report(project, plan, rows, ends or output_ends(project, plan.outputs), log)
        # A promotion compares with the first report, which therefore must cover all rows, and stays.
        refuse_expired(project, replay, plan, report["rows"])
    except SluiceError:
        # A failed replay doesn't block others that write the same rows; the next report reopens it.
        project.ledger.replays.ended(replay.id, ReplayOutcome.FAILED)
        raise
    project.ledger.replays.ended(replay.id, ReplayOutcome.COMPLETED, report)
    return report


def cancel_replay(project: Project, replay: ReplayRun, log: Log, *, confirms_loss: bool = False) -> None:
    """Cancel a replay and the Flink jobs of its chunks, by whichever taker they were started.

    Args:
        project: The project.
        replay: The replay.
        log: Takes progress messages.
        confirms_loss: A person has confirmed that none of it runs on the cluster where it was started.

    Raises:
        RefusedError: it has completed.
        OperationError: some Flink jobs don't end; the others have.
    """
    project.ledger.replays.ended(replay.id, ReplayOutcome.CANCELLED)
    _cancel_all(project, _begun_of(project, replay), log, confirms_loss=confirms_loss)


def cancel_chunks(project: Project, replay: ReplayRun, takers: str, log: Log) -> list[str]:
    """Cancel the unfinished chunks that some takers have started; the replay can be resumed.

    A replay with unfinished chunks, none of which runs, is recorded as failed.

    Args:
        project: The project.
        replay: The replay.
        takers: What the takers' names begin with.
        log: Takes progress messages.

    Returns:
        The names of the cancelled chunks.

    Raises:
        OperationError: some Flink jobs don't end; the others have.
    """
    rows = [row for row in _begun_of(project, replay) if row.taker and row.taker.startswith(takers)]
    cancelled = _cancel_all(project, rows, log)
    chunks = project.ledger.replays.chunks(replay.id)
    if any(row.state is not ChunkState.FINISHED for row in chunks) and not _begun_of(project, replay):
        project.ledger.replays.ended(replay.id, ReplayOutcome.FAILED)
    return cancelled


def cancel_abandoned(project: Project, is_over: Callable[[str], bool], log: Log) -> list[str]:
    """Cancel the chunks of all replays whose takers have ended; a replay with none left is recorded as failed.

    Args:
        project: The project.
        is_over: Whether a taker of chunks, or a holder of replays, is known to have ended.
        log: Takes progress messages.

    Returns:
        Why some could not be cancelled; the next call tries again.
    """
    rows = [row for row in project.ledger.replays.begun() if row.taker and is_over(row.taker)]
    problems = _try_to_cancel(project, rows, log)
    for replay in project.ledger.replays.unfinished_ones():
        if is_over(replay.holder) and not _begun_of(project, replay):
            project.ledger.replays.ended(replay.id, ReplayOutcome.FAILED)
            log(f"replay {replay.id[:8]} of {replay.job} has failed: {replay.holder} ended before it completed")
    return problems


def _begun_of(project: Project, replay: ReplayRun) -> list[ReplayChunk]:
    return [row for row in project.ledger.replays.begun() if row.replay == replay.id]


def _cancel_all(project: Project, rows: list[ReplayChunk], log: Log, *, confirms_loss: bool = False) -> list[str]:
    if problems := _try_to_cancel(project, rows, log, confirms_loss=confirms_loss):
        raise OperationError(
            f"{len(problems)} of {len(rows)} chunks could not be cancelled: {' | '.join(problems)}",
            remedy="cancel their Flink jobs in the Flink UI, or try again",
        )
    return [row.name for row in rows]


def _try_to_cancel(project: Project, rows: list[ReplayChunk], log: Log, *, confirms_loss: bool = False) -> list[str]:
    """Cancel each chunk, whether or not another one fails to end; the problems, as text."""
    problems = []
    for row in rows:
        try:
            _cancel(project, row, log, confirms_loss=confirms_loss)
        except SluiceError as error:
            problems.append(f"{row.name} may still run: {error}")
            if isinstance(error, UnreachableError):
                # Each further request would wait as long for its answer.
                break
    return problems


def _cancel(project: Project, row: ReplayChunk, log: Log, *, confirms_loss: bool) -> None:
    plan = ReplayPlan.model_validate(project.ledger.replays.find(row.replay).plan)
    Chunk(project, plan, row.number, log, taker=row.taker or "").cancel(confirms_loss=confirms_loss)


def _chunk(project: Project, plan: ReplayPlan, number: int, log: Log) -> Chunk:
    return Chunk(project, plan, number, log, taker=shell_holder(), is_gone=is_gone)


def _run(project: Project, chunk: Chunk, log: Log, stop: threading.Event) -> None:
    attempt, outage = 1, OutageTimeout(_OUTAGE_TIMEOUT, project.clock)
    while True:
        try:
            _try(project, chunk, log, stop, outage)
        except RefusedError:
            raise
        except UnreachableError as error:
            # An outage is no failure of the chunk, which may still run: it costs no attempt.
            if stop.is_set():
                raise
            outage.failed(error)
            log(f"{error}; tries again in {_PAUSE:.0f} s")
        except SluiceError as error:
            if stop.is_set() or attempt == _ATTEMPTS:
                raise
            attempt += 1
            outage.answered()
            log(f"{error}; attempt {attempt} of {_ATTEMPTS} in {_PAUSE:.0f} s")
        else:
            return
        project.clock.wait(stop, _PAUSE)


def _try(project: Project, chunk: Chunk, log: Log, stop: threading.Event, outage: OutageTimeout) -> None:
    flink_job_id = _begin(project.clock, chunk, log, stop, outage)
    outage.answered()
    if stop.is_set():
        chunk.cancel()
    elif flink_job_id is not None:
        progress = asyncio.run(_watch(project, chunk, flink_job_id, log, stop))
        if progress is not None and (progress.is_over or not stop.is_set()):
            chunk.conclude(flink_job_id, progress)


def _begin(clock: Clock, chunk: Chunk, log: Log, stop: threading.Event, outage: OutageTimeout) -> str | None:
    """Start the chunk once its limits and the task slots allow it; None: another taker has finished it, or `stop`."""
    next_log = 0.0
    while not stop.is_set():
        if found := chunk.begin(stop.is_set):
            return found
        outage.answered()
        if chunk.row.state is ChunkState.FINISHED:
            break
        if chunk.waits_for and clock.monotonic() > next_log:
            next_log = clock.monotonic() + _LOG_INTERVAL
            log(chunk.waits_for)
        clock.wait(stop, _QUEUE_PAUSE)
    return None


async def _watch(
    project: Project, chunk: Chunk, flink_job_id: str, log: Log, stop: threading.Event
) -> ChunkProgress | None:
    """Watch a chunk until it has ended or `stop` is set; its last progress, None: it was never read."""
    logged, begun = 0.0, project.clock.monotonic()
    progress: ChunkProgress | None = None
    async with contextlib.aclosing(watch_chunk(project, flink_job_id, stop.is_set)) as readings:
        async for progress in readings:
            share = (progress.records or 0) / chunk.part.records
            if share >= logged + _LOG_SHARE and not progress.is_over:
                logged = share
                chunk.record_progress(progress.records or 0)
                log(f"{chunk.part.name}: {progress.describe(chunk.part.records, project.clock.monotonic() - begun)}")
    return progress


def _report(
    project: Project, plan: ReplayPlan, rows: list[ReplayChunk], ends: dict[str, dict[int, int]], log: Log
) -> dict[str, Any]:
    job = project.catalog.job(plan.job)
    counts = dict.fromkeys((chunk.number for chunk in plan.chunks), 0)
    parity: dict[str, Any] | None = None if plan.output is OutputKind.LIVE else {}
    for sink in plan.outputs:
        sides = read_sides(project, job, plan, sink, ends[sink])
        for number, count in rows_by_chunk(plan, sides.replayed.values()).items():
            counts[number] += count
        if parity is not None:
            found = sides.parity
            parity[sink] = found.model_dump(mode="json")
            log(f"{plan.outputs[sink]} against the live topic: {found.describe()}")
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
