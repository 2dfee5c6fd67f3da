"""Read a snapshot of one job: the job from Flink's REST API, the ends of its topics from the broker."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sluice.clock import Clock
from sluice.errors import JobNotFoundError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.history import Checkpoints
from sluice.flink.models import JobDetail, JobState
from sluice.health.metrics import TaskMetrics, read_metrics
from sluice.health.positions import known_ends, next_offsets, possibly_at_end, read_splits, without_lag, without_reads
from sluice.health.snapshot import WINDOW_MS, CheckpointReading, Counters, Failure, Snapshot, SplitReading, Work
from sluice.health.trend import compare
from sluice.job.duration import epoch_milliseconds
from sluice.kafka.client import Brokers
from sluice.kafka.offsets import Held, Partition

_RESTARTS = "numRestarts"
_COMPLETED = "numberOfCompletedCheckpoints"
_QUIET_MS = 30_000
"""Flink is asked whether it has marked a partition as idle, if its watermark lies this far behind the newest one."""


@dataclass(frozen=True, eq=False)
class WatchedJob:
    """A job to observe, and what is known of it already.

    Attributes:
        flink_job_id: Its id in Flink.
        topics: The topics that it reads.
        group: Its consumer group.
        untimed: Those of its topics that it reads without event time.
        dead_letters: Its dead letter sinks.
        started_at: The next offsets in the state that it was started from.
        previous: An earlier snapshot, of this or another Flink job.
    """

    flink_job_id: str
    topics: tuple[str, ...]
    group: str
    untimed: tuple[str, ...] = ()
    dead_letters: tuple[str, ...] = ()
    started_at: Mapping[Partition, int] | None = None
    previous: Snapshot | None = None

    @property
    def before(self) -> Snapshot | None:
        """The earlier snapshot, if it is of this Flink job."""
        return self.previous if self.previous and self.previous.flink_job_id == self.flink_job_id else None


@dataclass(frozen=True)
class FlinkReading:
    """What Flink reports of a job; the splits need the brokers too.

    Attributes:
        snapshot: Without splits and trend.
        reported: The metrics of its tasks; None: they were not requested.
    """

    snapshot: Snapshot
    reported: TaskMetrics | None = None


async def probe(
    flink: AsyncFlinkClient,
    job_id: str | None,
    topics: Iterable[str],
    brokers: Brokers,
    group: str,
    previous: Snapshot | None = None,
    started_at: Mapping[Partition, int] | None = None,
    untimed: Iterable[str] = (),
) -> Snapshot:
    """Read a snapshot of one job.

    Args:
        flink: The cluster.
        job_id: The job's id in Flink; None: it has none.
        topics: The topics that it reads.
        brokers: The brokers.
        group: The job's consumer group.
        previous: An earlier snapshot, for the trends.
        started_at: The next offsets in the state that it was started from: it may have read nothing yet, and its group
            may never have committed them.
        untimed: Those of the topics that it reads without event time.

    Raises:
        UnreachableError: Flink or a broker doesn't answer, which says nothing about the job.
        FlinkError: Flink refuses the request.
    """
    if job_id is None:
        return Snapshot(now_ms(flink.clock), None)
    watched = WatchedJob(job_id, tuple(topics), group, tuple(untimed), previous=previous, started_at=started_at)
    held = Held(await asyncio.to_thread(brokers.offsets, topics) if watched.topics else {})
    reading = await read_from_flink(flink, watched, held)
    if reading.reported is None:
        return compare(reading.snapshot, previous)
    unknown = unknown_positions(watched, reading, held)
    committed = await asyncio.to_thread(brokers.committed, group, unknown) if unknown else {}
    splits = locate_splits(watched, reading, held, {**committed, **earlier_offsets(watched, reading)}) or {}
    unsure = possibly_at_end(splits, now_ms(flink.clock), watched.before)
    ended = await asyncio.to_thread(brokers.read_to_end, group, unsure) if unsure else ()
    return compare(replace(reading.snapshot, splits=without_lag(splits, ended)), previous)


async def read_from_flink(flink: AsyncFlinkClient, watched: WatchedJob, held: Held) -> FlinkReading:
    """Read what Flink reports of a job: five requests for one with a source and another vertex that drops or sends.

    Each further vertex of that kind takes one more; without metric names from an earlier snapshot, each vertex does.
    After a failover, the request for the cause replaces those for the counters of windows and sinks, which have just
    restarted from zero.

    Raises:
        UnreachableError: Flink doesn't answer, which says nothing about the job.
        FlinkError: Flink refuses the request.
    """
    job_id, before = watched.flink_job_id, watched.before
    try:
        # The state is read after the checkpoints: tasks that run now have not restarted since those checkpoints.
        checkpoints = await flink.send(calls.checkpoints(job_id))
        detail = await flink.send(calls.job(job_id))
        offset = detail.now - now_ms(flink.clock)
        counts = await _counts(flink, job_id)
        restarts = counts.get(_RESTARTS)
        known = _known_failures(detail, restarts, before)
        failures = await _failures(flink, job_id) if known is None else known
        reported = None
        if detail.state is JobState.RUNNING:
            reported = await read_metrics(
                flink,
                detail,
                _numbers(held, watched.topics),
                before,
                before.quiet_splits(_QUIET_MS) if before else (),
                sources_alone=known is None and before is not None,
                untimed=watched.untimed,
                all_registered=_covers_start(checkpoints, counts.get(_COMPLETED), detail.tasks_began_at),
            )
        elif detail.state in (JobState.RESTARTING, JobState.FAILING):
            # Restarting tasks report no metrics, or those of the tasks before them.
            reported = TaskMetrics(
                dict.fromkeys(held.of(watched.topics), -1),
                names=before.names if before else {},
                are_names_complete=before.are_names_complete if before else False,
            )
    except JobNotFoundError as error:
        await _refuse_stale(flink, job_id, error)
        return FlinkReading(Snapshot(now_ms(flink.clock), None, job_id))
    snapshot = Snapshot(
        at_ms=now_ms(flink.clock),
        state=detail.state,
        flink_job_id=job_id,
        running_ms=detail.now - detail.start_time,
        tasks_total=detail.tasks_total,
        tasks_running=detail.tasks_running,
        restarts=restarts,
        failures=failures,
        checkpoints=_read_checkpoints(checkpoints, counts.get(_COMPLETED), now_ms(flink.clock)),
        restored_from=checkpoints.latest.restored.external_path if checkpoints.latest.restored else None,
        untimed=watched.untimed,
        unread=reported.unread if reported else (),
        counters=_counters(detail, reported, watched.dead_letters),
        work=tuple(_work(detail)),
        backpressured=reported.backpressured if reported else None,
        problems=_missing(held, watched.topics),
        names=reported.names if reported else {},
        are_names_complete=reported.are_names_complete if reported else False,
        cluster_ms=now_ms(flink.clock) + offset,
        began_ms=detail.tasks_began_at,
        has_restarted=detail.restarted_at > 0 or bool(restarts),
        tally=reported.tally(now_ms(flink.clock)) if reported else None,
        reasons=reported.reasons if reported else {},
        uncounted=reported.uncounted if reported else (),
    )
    return FlinkReading(snapshot, reported)


async def _refuse_stale(flink: AsyncFlinkClient, job_id: str, error: JobNotFoundError) -> None:
    """Raise if Flink knows the job: it caches a job's checkpoints for `web.refresh-interval`, a "not found" too.

    Raises:
        UnreachableError: Flink knows the job by now.
    """
    try:
        state = (await flink.send(calls.status(job_id))).status
    except JobNotFoundError:
        return
    raise UnreachableError(
        f"{error.message}; and it is {state.value} by its status: Flink does not show all of it yet",
        remedy="try again in a moment",
    ) from error


async def _counts(flink: AsyncFlinkClient, job_id: str) -> dict[str, int]:
    """The job's own counters, as far as the cluster's metrics have them."""
    found = await flink.send(calls.job_metrics(job_id, (_RESTARTS, _COMPLETED)))
    return {metric.id: int(float(metric.value)) for metric in found if metric.value}


def _covers_start(checkpoints: Checkpoints, in_metrics: int | None, began_ms: int) -> bool:
    """Whether the cluster's metrics are newer than the first checkpoint of the present tasks, as far as Flink shows.

    A checkpoint needs all tasks, with their operators open, so that these have registered their metrics by then.
    """
    # A cluster may keep no history.
    completed = {item.id: item for item in checkpoints.history if item.status == "COMPLETED"}
    if newest := checkpoints.latest.completed:
        completed[newest.id] = newest
    of_these_tasks = [item for item in completed.values() if item.trigger_timestamp > began_ms]
    if in_metrics is None or not of_these_tasks:
        return False
    return in_metrics > checkpoints.counts.completed - len(of_these_tasks)


def _known_failures(detail: JobDetail, restarts: int | None, before: Snapshot | None) -> tuple[Failure, ...] | None:
    """The failures, if the previous snapshot has them all; None: they must be requested."""
    if detail.state is JobState.RUNNING and restarts == 0 and not detail.restarted_at:
        return ()
    if before and detail.restarted_at > before.began_ms:
        # The metric of restarts is up to 10 s old, the job's state isn't.
        return None
    if before and detail.state is before.state and restarts is not None and restarts == before.restarts:
        return before.failures
    return None


async def _failures(flink: AsyncFlinkClient, job_id: str) -> tuple[Failure, ...]:
    history = (await flink.send(calls.exceptions(job_id))).history
    return tuple(
        Failure(entry.timestamp, entry.words, is_python=entry.python_error is not None) for entry in history.entries
    )


def _numbers(held: Held, topics: Iterable[str]) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {topic: [] for topic in topics}
    for topic, number in held.of(topics):
        numbers[topic].append(number)
    return numbers


def _read_checkpoints(checkpoints: Checkpoints, in_metrics: int | None, now: int) -> CheckpointReading:
    newest = checkpoints.latest.completed
    ended = [item for item in checkpoints.history if item.status != "IN_PROGRESS"]
    in_a_row = next((index for index, item in enumerate(ended) if item.status == "COMPLETED"), len(ended))
    failures = [
        Failure(item.failure_timestamp or item.trigger_timestamp, item.failure_message or "no cause is given")
        for item in ended
        if item.status == "FAILED"
    ]
    return CheckpointReading(
        completed=checkpoints.counts.completed,
        failed=checkpoints.counts.failed,
        age_ms=now - (newest.latest_ack_timestamp or newest.trigger_timestamp) if newest else None,
        duration_ms=newest.end_to_end_duration if newest else None,
        size=newest.state_size if newest else None,
        failures=tuple(failure for failure in failures if failure.at_ms > now - WINDOW_MS),
        failed_in_a_row=in_a_row,
        triggered_ms=newest.trigger_timestamp if newest else None,
        in_metrics=in_metrics,
    )


def _counters(detail: JobDetail, reported: TaskMetrics | None, dead_letters: Iterable[str]) -> Counters:
    sources = [vertex.totals.read_records for vertex in detail.vertices if vertex.is_source]
    if reported is None:
        return Counters(records_in=sum(sources) if sources else None)
    # A sink's operator is named `<table>[<number>]: Writer`.
    letters = [
        count
        for sink, count in reported.sent.items()
        if any(sink.startswith(f"{name}__sink[") for name in dead_letters)
    ]
    return Counters(
        records_in=sum(sources) if sources else None,
        records_out=sum(reported.sent.values()) if reported.sent else None,
        dead_letters=sum(letters) if letters else None,
        late_dropped=reported.late_dropped,
    )


def _work(detail: JobDetail) -> Iterable[Work]:
    for vertex in detail.vertices:
        totals = vertex.totals
        yield Work(
            vertex.name,
            vertex.parallelism,
            # Flink reports NaN for a subtask without a value.
            0.0 if math.isnan(totals.accumulated_busy_ms) else totals.accumulated_busy_ms,
            totals.accumulated_backpressured_ms,
            totals.accumulated_idle_ms,
        )


def earlier_offsets(watched: WatchedJob, reading: FlinkReading) -> dict[Partition, int]:
    """The next offset, as known before, of partitions whose reader has read nothing since its task started."""
    before = (watched.before.splits if watched.before else None) or {}
    known = dict(watched.started_at or {})
    known |= {
        partition: split.next_offset
        for partition, split in before.items()
        if split.next_offset is not None and not split.is_guessed
    }
    wanted = without_reads(reading.reported.positions) if reading.reported else frozenset()
    return {partition: known[partition] for partition in wanted if partition in known}


def unknown_positions(watched: WatchedJob, reading: FlinkReading, held: Held) -> list[Partition]:
    """Partitions whose position no reader and no earlier snapshot reports: the offsets of the consumer group may."""
    wanted = without_reads(reading.reported.positions) if reading.reported else frozenset()
    return sorted((wanted & held.offsets.keys()) - earlier_offsets(watched, reading).keys())


def locate_splits(
    watched: WatchedJob, reading: FlinkReading, held: Held, earlier: Mapping[Partition, int]
) -> dict[Partition, SplitReading] | None:
    """The job's splits, before the broker is asked for transaction markers; None: the ends of a topic aren't known."""
    if reading.reported is None or (watched.topics and _missing(held, watched.topics)):
        return None
    offsets = held.of(watched.topics)
    next_by_partition = next_offsets(reading.reported.positions, offsets, earlier)
    guessed = without_reads(reading.reported.positions) - earlier.keys()
    splits = read_splits(reading.reported.watermarks, offsets, next_by_partition, reading.reported.idle, guessed)
    return without_lag(splits, known_ends(splits, watched.before))


def _missing(held: Held, topics: Iterable[str]) -> tuple[str, ...]:
    """Why the ends of topics aren't known."""
    if held.trouble:
        return (held.trouble,) if tuple(topics) else ()
    return tuple(f"topic {topic}: {held.missing[topic]}" for topic in topics if topic in held.missing)


def now_ms(clock: Clock) -> int:
    """Epoch milliseconds."""
    return epoch_milliseconds(clock.now())
