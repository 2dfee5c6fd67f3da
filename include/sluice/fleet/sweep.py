"""One look at the whole fleet: shared requests, a bounded number of jobs at a time, a deadline for each and for all."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from confluent_kafka.admin import AdminClient

from sluice.errors import SluiceError
from sluice.fleet.discrepancies import Discrepancy, FindDiscrepancy, is_doubtful, no_discrepancy
from sluice.fleet.members import Member
from sluice.fleet.reconcile import LedgerView, add_unmanaged_jobs, ignore_shared_stalls, reconcile
from sluice.fleet.removed import REMOVED, row_of_removed_job, row_of_unreachable_removed_job
from sluice.fleet.rows import Found
from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.models import JobList, JobSummary
from sluice.health.faults import fails_by_its_own, stands_still_by_its_own
from sluice.health.positions import at_their_ends, doubtful
from sluice.health.probe import Seen, Target, earlier_offsets, look, now_ms, place, without_position
from sluice.health.snapshot import Snapshot
from sluice.health.trend import compare
from sluice.health.verdict import verdict
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import Held, Partition, find_read_to_end, read_committed, read_held

T = TypeVar("T")
K = TypeVar("K")
Doing = Callable[[], Coroutine[Any, Any, T]]
"""Something to be begun when its turn comes."""


@dataclass(frozen=True)
class Pace:
    """How fast, and how long at the most.

    Attributes:
        at_once: Jobs that are looked at side by side.
        job_seconds: What a job has until it counts as unreachable.
        seconds: What all jobs have.
        consumers: How many may ask the brokers side by side where that takes a consumer.
    """

    at_once: int = 32
    job_seconds: float = 15.0
    seconds: float = 120.0
    consumers: int = 8


@dataclass(frozen=True)
class _Trouble:
    """Why something could not be read."""

    words: str


async def sweep(
    members: Sequence[Member],
    flink: AsyncFlinkClient,
    kafka: Mapping[str, str],
    *,
    is_whole: bool = True,
    standing: Callable[[], LedgerView] = LedgerView,
    admin: AdminClient | None = None,
    pace: Pace = Pace(),
    doubt: FindDiscrepancy = no_discrepancy,
) -> list[Found]:
    """Look at these jobs, and at what else runs on the cluster.

    What can't be read is a row that says so: never an error, and never a job that is gone.

    Args:
        members: The jobs.
        flink: The cluster.
        kafka: librdkafka's configuration.
        is_whole: They are all jobs of the project, so that any other one of the cluster is one that nobody declares.
        standing: Reads what the ledger says: asked before the cluster is, and once it has answered.
        admin: The brokers; None: by that configuration.
        pace: How fast.
        doubt: Asks more about a job that the list of jobs leaves out, or that the ledger has as stopped.

    Returns:
        A row for each member in their order, then one for each job of the cluster that isn't the ledger's.
    """
    before = await asyncio.to_thread(standing)
    targets = [member.target for member in members if member.target]
    topics = {topic for target in targets for topic in target.topics}
    held, cluster = await asyncio.gather(
        asyncio.to_thread(_held, kafka, admin, topics), _attempt(partial(_jobs, flink), pace.job_seconds)
    )
    if isinstance(cluster, _Trouble):
        return [_judge(member, cluster) for member in members]
    known = {job.id for job in cluster.jobs}
    doubts = await _doubts(members, cluster, doubt, pace)
    seen = await _look_at_all(flink, [target for target in targets if target.flink_job_id in known], held, pace)
    snapshots = await _place_all(seen, held, kafka, pace)
    after = await asyncio.to_thread(standing)
    judged = [
        (
            doubts.get(member.status.job) or _judge(member, _of(member.target, known, snapshots), cluster.jobs),
            member.health,
        )
        for member in members
    ]
    found = reconcile(ignore_shared_stalls(judged), before, after)
    own = before.flink_job_ids | after.flink_job_ids
    return add_unmanaged_jobs(found, (job for job in cluster.jobs if job.id not in own), is_whole=is_whole)


async def _doubts(members: Sequence[Member], cluster: JobList, doubt: FindDiscrepancy, pace: Pace) -> dict[str, Found]:
    """The rows of jobs that are not what the list of jobs makes them seem, by the job's name."""
    alive = {job.id: not job.state.is_terminal for job in cluster.jobs}
    asking: dict[str, Doing[tuple[Discrepancy | None] | _Trouble]] = {}
    rows = {member.status.job: member.status for member in members}
    for member in members:
        name, known = member.status.job, alive.get(member.status.flink_job_id or "")
        if is_doubtful(member, is_listed=known is not None, is_alive=bool(known)):
            asked = partial(_asked, doubt, member, is_listed=known is not None)
            asking[name] = partial(_attempt, asked, pace.job_seconds)
    late = _Trouble(f"not looked at: the sweep's {pace.seconds:.0f} s were up")
    marks: dict[str, Discrepancy | None] = {}
    for name, answer in (await _within(asking, pace.consumers, pace.seconds)).items():
        told = answer or late
        marks[name] = Discrepancy("unsure", told.words) if isinstance(told, _Trouble) else told[0]
    return {name: Found(mark.mark(rows[name])) for name, mark in marks.items() if mark}


async def _asked(doubt: FindDiscrepancy, member: Member, *, is_listed: bool) -> tuple[Discrepancy | None]:
    return (await asyncio.to_thread(doubt, member, is_listed=is_listed),)


async def _jobs(flink: AsyncFlinkClient) -> JobList:
    return await flink.send(calls.jobs())


def _held(kafka: Mapping[str, str], admin: AdminClient | None, topics: set[str]) -> Held:
    try:
        return read_held(admin or connect(kafka), topics, kafka.get("bootstrap.servers", "")) if topics else Held()
    except SluiceError as error:
        return Held(trouble=str(error))


async def _attempt(doing: Doing[T], seconds: float) -> T | _Trouble:
    try:
        async with asyncio.timeout(seconds):
            return await doing()
    except TimeoutError:
        return _Trouble(f"no answer within {seconds:.0f} s")
    except SluiceError as error:
        return _Trouble(str(error))


async def _within(doing: Mapping[K, Doing[T]], at_once: int, seconds: float) -> dict[K, T | None]:
    """Do things side by side, so many at once; None for those that the time did not suffice for."""
    turnstile = asyncio.Semaphore(at_once)

    async def one(thing: Doing[T]) -> T:
        async with turnstile:
            return await thing()

    tasks = {key: asyncio.create_task(one(thing)) for key, thing in doing.items()}
    if tasks:
        _, late = await asyncio.wait(tasks.values(), timeout=seconds)
        for task in late:
            task.cancel()
        await asyncio.gather(*late, return_exceptions=True)
    return {key: None if task.cancelled() else task.result() for key, task in tasks.items()}


async def _look_at_all(
    flink: AsyncFlinkClient, targets: Iterable[Target], held: Held, pace: Pace
) -> dict[Target, Seen | _Trouble]:
    looking = {target: partial(_attempt, partial(look, flink, target, held), pace.job_seconds) for target in targets}
    done = await _within(looking, pace.at_once, pace.seconds)
    late = _Trouble(f"not looked at: the sweep's {pace.seconds:.0f} s were up")
    return {target: seen or late for target, seen in done.items()}


async def _place_all(
    seen: Mapping[Target, Seen | _Trouble], held: Held, kafka: Mapping[str, str], pace: Pace
) -> dict[str, Snapshot | _Trouble]:
    """The snapshots by Flink job id, with the splits: what the readers don't tell is asked of the brokers."""
    asking = {
        target: partial(
            _attempt, partial(asyncio.to_thread, read_committed, kafka, target.group, unknown), pace.job_seconds
        )
        for target, one in seen.items()
        if isinstance(one, Seen) and (unknown := without_position(target, one, held))
    }
    committed = await _within(asking, pace.consumers, pace.seconds)
    snapshots: dict[Target, Snapshot | _Trouble] = {}
    for target, one in seen.items():
        if isinstance(one, _Trouble):
            snapshots[target] = one
            continue
        told = committed.get(target)
        more = told if isinstance(told, dict) else {}
        troubles = (told.words,) if isinstance(told, _Trouble) else ()
        splits = place(target, one, held, {**more, **earlier_offsets(target, one)})
        problems = (*one.snapshot.problems, *troubles)
        snapshots[target] = replace(one.snapshot, splits=None if troubles else splits, problems=problems)
    ended = await _read_to_end(snapshots, kafka, pace)
    return {
        target.flink_job_id: snapshot if isinstance(snapshot, _Trouble) else _finish(snapshot, target, ended)
        for target, snapshot in snapshots.items()
    }


def _finish(snapshot: Snapshot, target: Target, ended: frozenset[tuple[Partition, int]]) -> Snapshot:
    if snapshot.splits is not None:
        at_end = [key for key, split in snapshot.splits.items() if (key, split.following or 0) in ended]
        snapshot = replace(snapshot, splits=at_their_ends(snapshot.splits, at_end))
    return compare(snapshot, target.former)


async def _read_to_end(
    snapshots: Mapping[Target, Snapshot | _Trouble], kafka: Mapping[str, str], pace: Pace
) -> frozenset[tuple[Partition, int]]:
    """Partitions, each with the offset from which on there is nothing to read; of those where that is in doubt.

    Jobs that have read a topic to its end stand at the same offset: one consumer answers for all of them.
    """
    now, layers = now_ms(), list[dict[Partition, int]]()
    for target, snapshot in snapshots.items():
        if isinstance(snapshot, Snapshot):
            for partition, offset in doubtful(snapshot.splits or {}, now, target.before).items():
                _lay(layers, partition, offset)
    group = next((target.group for target in snapshots), "")
    asking = {
        number: partial(_attempt, partial(asyncio.to_thread, find_read_to_end, kafka, group, layer), pace.seconds)
        for number, layer in enumerate(layers)
    }
    # Where it can't be found out, the lag stays what it seems to be.
    found = await _within(asking, pace.consumers, pace.seconds)
    return frozenset(
        (partition, layers[number][partition])
        for number, ended in found.items()
        if isinstance(ended, frozenset)
        for partition in ended
    )


def _lay(layers: list[dict[Partition, int]], partition: Partition, offset: int) -> None:
    for layer in layers:
        if layer.setdefault(partition, offset) == offset:
            return
    layers.append({partition: offset})


def _of(
    target: Target | None, known: set[str], snapshots: Mapping[str, Snapshot | _Trouble]
) -> Snapshot | _Trouble | None:
    if target is None:
        return None
    if target.flink_job_id not in known:
        return Snapshot(now_ms(), None, target.flink_job_id)
    return snapshots[target.flink_job_id]


def _judge(member: Member, seen: Snapshot | _Trouble | None, cluster: Iterable[JobSummary] = ()) -> Found:
    status = member.status
    if status.state == REMOVED:
        return Found(
            row_of_unreachable_removed_job(status, seen.words)
            if isinstance(seen, _Trouble)
            else row_of_removed_job(status, cluster)
        )
    if seen is None or member.target is None:
        return Found(status)
    if isinstance(seen, _Trouble):
        # Not being able to look is not the job's being gone.
        return Found(replace(status, state="unreachable", verdict="unknown", reasons=(seen.words,)))
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
        and (fails_by_its_own(seen, member.health) or stands_still_by_its_own(seen, member.health)),
    )
    return Found(row, seen)
