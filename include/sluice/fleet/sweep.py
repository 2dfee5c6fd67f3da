"""One sweep over the fleet: shared requests, a limited number of jobs at once, timeouts for each job and for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from sluice.clock import Clock
from sluice.errors import SluiceError
from sluice.fleet.discrepancies import Discrepancy, DiscrepancyKind, FindDiscrepancy, needs_check, no_discrepancy
from sluice.fleet.members import Member
from sluice.fleet.reconcile import LedgerView, add_unmanaged_jobs, ignore_shared_stalls, reconcile
from sluice.fleet.removed import REMOVED, row_of_removed_job, row_of_unreachable_removed_job
from sluice.fleet.rows import JobObservation
from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.metrics import Metric
from sluice.flink.models import JobList, JobSummary
from sluice.health.faults import fails_by_own_fault, stalls_by_own_fault
from sluice.health.positions import possibly_at_end, without_lag
from sluice.health.probe import (
    FlinkReading,
    WatchedJob,
    earlier_offsets,
    locate_splits,
    now_ms,
    read_from_flink,
    unknown_positions,
)
from sluice.health.snapshot import Snapshot
from sluice.health.trend import compare
from sluice.health.verdict import VerdictState, verdict
from sluice.kafka.client import Brokers
from sluice.kafka.offsets import Held, Partition

T = TypeVar("T")
K = TypeVar("K")
AsyncCall = Callable[[], Coroutine[Any, Any, T]]
"""Starts a request when it is called."""


@dataclass(frozen=True)
class SweepBudget:
    """The limits of a sweep.

    Attributes:
        max_jobs: The number of jobs that are read at the same time.
        job_timeout_s: Seconds after which a job counts as unreachable.
        timeout_s: Seconds for all jobs together.
        max_consumers: The number of Kafka consumers at the same time, for the requests that need one.
        metrics_fetch_s: Seconds that the cluster gets to fetch its metrics. A request for metrics starts a fetch, and
            is answered with the metrics of the fetch before: without the wait, a sweep after a pause of an hour would
            read positions and watermarks that are an hour old.
    """

    max_jobs: int = 32
    job_timeout_s: float = 15.0
    timeout_s: float = 120.0
    max_consumers: int = 8
    metrics_fetch_s: float = 0.5


@dataclass(frozen=True)
class _ReadError:
    """The reason why something could not be read."""

    words: str


async def sweep(
    members: Sequence[Member],
    flink: AsyncFlinkClient,
    brokers: Brokers,
    *,
    is_whole: bool = True,
    read_ledger: Callable[[], LedgerView] = LedgerView,
    budget: SweepBudget = SweepBudget(),
    find_discrepancy: FindDiscrepancy = no_discrepancy,
) -> list[JobObservation]:
    """Read and judge these jobs, and list the other jobs of the cluster.

    A job that can't be read gets a row with the reason: this raises nothing, and the job doesn't count as missing.

    Args:
        members: The jobs.
        flink: The cluster.
        brokers: The brokers.
        is_whole: The members are all jobs of the project, so that no file declares any other job of the cluster.
        read_ledger: Reads the ledger; called before the requests to Flink and after them.
        budget: The limits.
        find_discrepancy: Checks a job that Flink does not list, or that is stopped according to the ledger.

    Returns:
        A row for each member, in the order of the members, then one for each running job that is not in the ledger.
    """
    watched_jobs = [member.watched for member in members if member.watched]
    began = flink.clock.monotonic()
    if watched_jobs:
        # The requests that follow get the same error, if there is one.
        await _attempt(partial(_start_metrics_fetch, flink), budget.job_timeout_s)
    before = await asyncio.to_thread(read_ledger)
    topics = {topic for watched in watched_jobs for topic in watched.topics}
    held, cluster = await asyncio.gather(
        asyncio.to_thread(_read_ends, brokers, topics), _attempt(partial(_jobs, flink), budget.job_timeout_s)
    )
    if isinstance(cluster, _ReadError):
        return [_judge(member, cluster) for member in members]
    known = {job.id for job in cluster.jobs}
    discrepancies = await _find_discrepancies(members, cluster, find_discrepancy, budget)
    running = [watched for watched in watched_jobs if watched.flink_job_id in known]
    if running:
        await flink.clock.pause(max(0.0, began + budget.metrics_fetch_s - flink.clock.monotonic()))
    seen = await _read_all(flink, running, held, budget)
    snapshots = await _to_snapshots(seen, held, brokers, budget, flink.clock)
    after = await asyncio.to_thread(read_ledger)
    judged = [
        (
            discrepancies.get(member.status.job)
            or _judge(member, _reading_of(member.watched, known, snapshots, flink.clock), cluster.jobs),
            member.health,
        )
        for member in members
    ]
    found = reconcile(ignore_shared_stalls(judged), before, after)
    own = before.flink_job_ids | after.flink_job_ids
    return add_unmanaged_jobs(found, (job for job in cluster.jobs if job.id not in own), is_whole=is_whole)


async def _find_discrepancies(
    members: Sequence[Member], cluster: JobList, find_discrepancy: FindDiscrepancy, budget: SweepBudget
) -> dict[str, JobObservation]:
    """The rows of jobs for which Flink's list of jobs is wrong or not enough, by the job's name."""
    alive = {job.id: not job.state.is_terminal for job in cluster.jobs}
    asking: dict[str, AsyncCall[tuple[Discrepancy | None] | _ReadError]] = {}
    rows = {member.status.job: member.status for member in members}
    for member in members:
        name, known = member.status.job, alive.get(member.status.flink_job_id or "")
        if needs_check(member, is_listed=known is not None, is_alive=bool(known)):
            call = partial(_ask, find_discrepancy, member, is_listed=known is not None)
            asking[name] = partial(_attempt, call, budget.job_timeout_s)
    late = _too_late(budget)
    discrepancies: dict[str, Discrepancy | None] = {}
    for name, answer in (await _run_concurrently(asking, budget.max_consumers, budget.timeout_s)).items():
        result = answer or late
        if isinstance(result, _ReadError):
            discrepancies[name] = Discrepancy(DiscrepancyKind.UNSURE, result.words)
        else:
            discrepancies[name] = result[0]
    return {
        name: JobObservation(discrepancy.apply(rows[name]))
        for name, discrepancy in discrepancies.items()
        if discrepancy
    }


async def _ask(find_discrepancy: FindDiscrepancy, member: Member, *, is_listed: bool) -> tuple[Discrepancy | None]:
    return (await asyncio.to_thread(find_discrepancy, member, is_listed=is_listed),)


async def _jobs(flink: AsyncFlinkClient) -> JobList:
    return await flink.send(calls.jobs())


async def _start_metrics_fetch(flink: AsyncFlinkClient) -> tuple[Metric, ...]:
    return await flink.send(calls.jobmanager_metrics(["Status.JVM.CPU.Load"]))


def _read_ends(brokers: Brokers, topics: set[str]) -> Held:
    try:
        return brokers.held(topics) if topics else Held()
    except SluiceError as error:
        return Held(trouble=str(error))


async def _attempt(call: AsyncCall[T], seconds: float) -> T | _ReadError:
    try:
        async with asyncio.timeout(seconds):
            return await call()
    except TimeoutError:
        return _ReadError(f"no answer within {seconds:.0f} s")
    except SluiceError as error:
        return _ReadError(str(error))


async def _run_concurrently(calls_by_key: Mapping[K, AsyncCall[T]], limit: int, seconds: float) -> dict[K, T | None]:
    """Run calls, at most `limit` at once; None for those that have not ended after so many seconds."""
    semaphore = asyncio.Semaphore(limit)

    async def one(call: AsyncCall[T]) -> T:
        async with semaphore:
            return await call()

    tasks = {key: asyncio.create_task(one(call)) for key, call in calls_by_key.items()}
    if tasks:
        _, late = await asyncio.wait(tasks.values(), timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    return {key: None if task.cancelled() else task.result() for key, task in tasks.items()}


async def _read_all(
    flink: AsyncFlinkClient, watched_jobs: Iterable[WatchedJob], held: Held, budget: SweepBudget
) -> dict[WatchedJob, FlinkReading | _ReadError]:
    reading = {
        watched: partial(_attempt, partial(read_from_flink, flink, watched, held), budget.job_timeout_s)
        for watched in watched_jobs
    }
    done = await _run_concurrently(reading, budget.max_jobs, budget.timeout_s)
    late = _too_late(budget)
    return {watched: answer or late for watched, answer in done.items()}


def _too_late(budget: SweepBudget) -> _ReadError:
    return _ReadError(f"not read: the sweep reached its time limit of {budget.timeout_s:.0f} s")


async def _to_snapshots(
    seen: Mapping[WatchedJob, FlinkReading | _ReadError],
    held: Held,
    brokers: Brokers,
    budget: SweepBudget,
    clock: Clock,
) -> dict[str, Snapshot | _ReadError]:
    """The snapshots with their splits, by Flink job id. Positions that no reader reports come from the brokers."""
    asking = {
        watched: partial(
            _attempt, partial(asyncio.to_thread, brokers.committed, watched.group, unknown), budget.job_timeout_s
        )
        for watched, one in seen.items()
        if isinstance(one, FlinkReading) and (unknown := unknown_positions(watched, one, held))
    }
    committed = await _run_concurrently(asking, budget.max_consumers, budget.timeout_s)
    snapshots: dict[WatchedJob, Snapshot | _ReadError] = {}
    for watched, one in seen.items():
        if isinstance(one, _ReadError):
            snapshots[watched] = one
            continue
        answer = committed.get(watched)
        more = answer if isinstance(answer, dict) else {}
        errors = (answer.words,) if isinstance(answer, _ReadError) else ()
        splits = locate_splits(watched, one, held, {**more, **earlier_offsets(watched, one)})
        problems = (*one.snapshot.problems, *errors)
        snapshots[watched] = replace(one.snapshot, splits=None if errors else splits, problems=problems)
    ended = await _read_to_end(snapshots, brokers, budget, clock)
    return {
        watched.flink_job_id: snapshot if isinstance(snapshot, _ReadError) else _finish(snapshot, watched, ended)
        for watched, snapshot in snapshots.items()
    }


def _finish(snapshot: Snapshot, watched: WatchedJob, ended: frozenset[tuple[Partition, int]]) -> Snapshot:
    if snapshot.splits is not None:
        at_end = [key for key, split in snapshot.splits.items() if (key, split.next_offset or 0) in ended]
        snapshot = replace(snapshot, splits=without_lag(snapshot.splits, at_end))
    return compare(snapshot, watched.previous)


async def _read_to_end(
    snapshots: Mapping[WatchedJob, Snapshot | _ReadError], brokers: Brokers, budget: SweepBudget, clock: Clock
) -> frozenset[tuple[Partition, int]]:
    """The partitions that were read to their end although their lag isn't 0, each with the next offset.

    Jobs that have read a topic to its end have the same next offset, so that one consumer checks it for all of them.
    """
    now, layers = now_ms(clock), list[dict[Partition, int]]()
    for watched, snapshot in snapshots.items():
        if isinstance(snapshot, Snapshot):
            for partition, offset in possibly_at_end(snapshot.splits or {}, now, watched.before).items():
                _add_offset(layers, partition, offset)
    group = next((watched.group for watched in snapshots), "")
    asking = {
        number: partial(_attempt, partial(asyncio.to_thread, brokers.read_to_end, group, layer), budget.timeout_s)
        for number, layer in enumerate(layers)
    }
    # If the brokers don't answer, the lag stays unchanged.
    found = await _run_concurrently(asking, budget.max_consumers, budget.timeout_s)
    return frozenset(
        (partition, layers[number][partition])
        for number, ended in found.items()
        if isinstance(ended, frozenset)
        for partition in ended
    )


def _add_offset(layers: list[dict[Partition, int]], partition: Partition, offset: int) -> None:
    for layer in layers:
        if layer.setdefault(partition, offset) == offset:
            return
    layers.append({partition: offset})


def _reading_of(
    watched: WatchedJob | None, known: set[str], snapshots: Mapping[str, Snapshot | _ReadError], clock: Clock
) -> Snapshot | _ReadError | None:
    if watched is None:
        return None
    if watched.flink_job_id not in known:
        return Snapshot(now_ms(clock), None, watched.flink_job_id)
    return snapshots[watched.flink_job_id]


def _judge(member: Member, seen: Snapshot | _ReadError | None, cluster: Iterable[JobSummary] = ()) -> JobObservation:
    status = member.status
    if status.state == REMOVED:
        return JobObservation(
            row_of_unreachable_removed_job(status, seen.words)
            if isinstance(seen, _ReadError)
            else row_of_removed_job(status, cluster)
        )
    if seen is None or member.watched is None:
        return JobObservation(status)
    if isinstance(seen, _ReadError):
        # An unreadable job is not a missing job.
        return JobObservation(replace(status, state="unreachable", verdict=VerdictState.UNKNOWN, reasons=(seen.words,)))
    judged = verdict(seen, member.health)
    row = replace(
        status,
        state=seen.state.value if seen.state else "gone",
        verdict=judged.state,
        reasons=(*judged.reasons, *status.reasons),
        consumer_lag=seen.consumer_lag,
        lag_per_s=seen.trend.lag_per_s,
        watermark_lag_ms=seen.watermark_lag_ms,
        records_in_per_s=seen.trend.records_in_per_s,
        records_out_per_s=seen.trend.records_out_per_s,
        dead_letters_per_min=seen.trend.dead_letters_per_min,
        malformed_per_s=seen.trend.malformed_per_s,
        late_per_s=seen.trend.late_per_s,
        checkpoint_age_ms=seen.checkpoints.age_ms,
        checkpoint_duration_ms=seen.checkpoints.duration_ms,
        checkpoint_bytes=seen.checkpoints.size,
        restarts=seen.restarts,
        recent_restarts=len(seen.recent_failures) if seen.state else None,
        own_fault=judged.state == "failed"
        and (fails_by_own_fault(seen, member.health) or stalls_by_own_fault(seen, member.health)),
    )
    return JobObservation(row, seen)
