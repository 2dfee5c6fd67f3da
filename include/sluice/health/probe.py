"""Reading a snapshot of one job: Flink's REST API for the job, the broker for the ends of its topics."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from sluice.errors import JobNotFoundError, UnreachableError
from sluice.flink import calls
from sluice.flink.client import AsyncFlinkClient
from sluice.flink.history import Checkpoints
from sluice.flink.models import JobDetail, JobState
from sluice.health.metrics import Reported, read_metrics
from sluice.health.positions import at_their_ends, doubtful, known_ends, next_offsets, read_splits, silent
from sluice.health.snapshot import WINDOW_MS, CheckpointReading, Counters, Failure, Snapshot, SplitReading, Work
from sluice.health.trend import compare
from sluice.kafka.brokers import connect
from sluice.kafka.offsets import Held, Partition, find_read_to_end, read_committed, read_offsets

_RESTARTS = "numRestarts"
_QUIET_MS = 30_000
"""How far a partition that is read to its end lies behind when Flink is asked whether it takes it for idle."""


@dataclass(frozen=True, eq=False)
class Target:
    """Which job to look at, and what is known of it already.

    Attributes:
        flink_job_id: Its id in Flink.
        topics: What it reads.
        group: Its consumer group.
        untimed: Which of the topics it reads without event time.
        dead_letters: Which of its sinks are for dead letters.
        started_at: The next offsets of the state that it was started from.
        former: An earlier snapshot, of this or another Flink job.
    """

    flink_job_id: str
    topics: tuple[str, ...]
    group: str
    untimed: tuple[str, ...] = ()
    dead_letters: tuple[str, ...] = ()
    started_at: Mapping[Partition, int] | None = None
    former: Snapshot | None = None

    @property
    def before(self) -> Snapshot | None:
        """The earlier snapshot, if it is of this Flink job."""
        return self.former if self.former and self.former.flink_job_id == self.flink_job_id else None


@dataclass(frozen=True)
class Seen:
    """What the cluster says of a job; the splits are not known yet.

    Attributes:
        snapshot: Without splits and trend.
        reported: The metrics of its tasks; None: they were not asked.
    """

    snapshot: Snapshot
    reported: Reported | None = None


async def probe(
    flink: AsyncFlinkClient,
    job_id: str | None,
    topics: Iterable[str],
    kafka: Mapping[str, str],
    group: str,
    former: Snapshot | None = None,
    started_at: Mapping[Partition, int] | None = None,
    untimed: Iterable[str] = (),
) -> Snapshot:
    """A snapshot of one job.

    Args:
        flink: The cluster.
        job_id: The job's id in Flink; None: it has none.
        topics: What it reads.
        kafka: librdkafka's configuration.
        group: The job's consumer group.
        former: An earlier snapshot, for the trends.
        started_at: The next offsets of the state that it was started from: it may have read nothing yet, and its group
            may never have committed them.
        untimed: Which of the topics it reads without event time.

    Raises:
        UnreachableError: the cluster or the broker doesn't answer: it says nothing about the job.
        FlinkError: the cluster refuses to answer.
    """
    if job_id is None:
        return Snapshot(now_ms(), None)
    target = Target(job_id, tuple(topics), group, tuple(untimed), former=former, started_at=started_at)
    held = Held(await asyncio.to_thread(read_offsets, connect(kafka), topics, _servers(kafka)) if target.topics else {})
    seen = await look(flink, target, held)
    if seen.reported is None:
        return compare(seen.snapshot, former)
    unknown = without_position(target, seen, held)
    committed = await asyncio.to_thread(read_committed, kafka, group, unknown) if unknown else {}
    splits = place(target, seen, held, {**committed, **earlier_offsets(target, seen)}) or {}
    unsure = doubtful(splits, now_ms(), target.before)
    ended = await asyncio.to_thread(find_read_to_end, kafka, group, unsure) if unsure else ()
    return compare(replace(seen.snapshot, splits=at_their_ends(splits, ended)), former)


async def look(flink: AsyncFlinkClient, target: Target, held: Held) -> Seen:
    """What the cluster says of a job: five calls for one with a source and another vertex that drops or sends.

    It is one more for each further vertex of that kind; and where names of metrics are not remembered yet, one more for
    each vertex. A job that has failed over since the former snapshot is asked for the cause instead of for what its
    windows and sinks count: they have just begun anew.

    Raises:
        UnreachableError: the cluster doesn't answer: it says nothing about the job.
        FlinkError: the cluster refuses to answer.
    """
    job_id, before = target.flink_job_id, target.before
    try:
        # The job's state is read after the checkpoints: tasks that run in it have not begun anew since those.
        checkpoints = await flink.send(calls.checkpoints(job_id))
        detail = await flink.send(calls.job(job_id))
        offset = detail.now - now_ms()
        restarts = await _restarts(flink, job_id)
        known = _known_failures(detail, restarts, before)
        failures = await _failures(flink, job_id) if known is None else known
        reported = None
        if detail.state is JobState.RUNNING:
            reported = await read_metrics(
                flink,
                detail,
                _numbers(held, target.topics),
                before,
                before.quiet_splits(_QUIET_MS) if before else (),
                sources_alone=known is None and before is not None,
            )
        elif detail.state in (JobState.RESTARTING, JobState.FAILING):
            # Its tasks tell nothing, or what their predecessors told.
            reported = Reported(dict.fromkeys(held.of(target.topics), -1), names=before.names if before else {})
    except JobNotFoundError as error:
        await _refuse_stale(flink, job_id, error)
        return Seen(Snapshot(now_ms(), None, job_id))
    snapshot = Snapshot(
        at_ms=now_ms(),
        state=detail.state,
        flink_job_id=job_id,
        running_ms=detail.now - detail.start_time,
        tasks_total=detail.tasks_total,
        tasks_running=detail.tasks_running,
        restarts=restarts,
        failures=failures,
        checkpoints=_read_checkpoints(checkpoints, now_ms()),
        restored_from=checkpoints.latest.restored.external_path if checkpoints.latest.restored else None,
        untimed=target.untimed,
        unread=reported.unread if reported else (),
        counters=_counters(detail, reported, target.dead_letters),
        work=tuple(_work(detail)),
        backpressured=reported.backpressured if reported else None,
        problems=_missing(held, target.topics),
        names=reported.names if reported else {},
        cluster_ms=now_ms() + offset,
        began_ms=max([detail.restarted_at, *(vertex.start_time for vertex in detail.vertices)]),
        has_restarted=detail.restarted_at > 0 or bool(restarts),
        tally=reported.tally(now_ms()) if reported else None,
        reasons=reported.reasons if reported else {},
        uncounted=reported.uncounted if reported else (),
    )
    return Seen(snapshot, reported)


async def _refuse_stale(flink: AsyncFlinkClient, job_id: str, error: JobNotFoundError) -> None:
    """Flink keeps what it says of a job's checkpoints for `web.refresh-interval`, that it doesn't know it as well.

    Raises:
        UnreachableError: it knows the job by now.
    """
    try:
        state = (await flink.send(calls.status(job_id))).status
    except JobNotFoundError:
        return
    raise UnreachableError(
        f"{error.message}; and it is {state.value} by its status: Flink does not show all of it yet",
        remedy="try again in a moment",
    ) from error


async def _restarts(flink: AsyncFlinkClient, job_id: str) -> int | None:
    found = await flink.send(calls.job_metrics(job_id, (_RESTARTS,)))
    return int(float(found[0].value)) if found and found[0].value else None


def _known_failures(detail: JobDetail, restarts: int | None, before: Snapshot | None) -> tuple[Failure, ...] | None:
    """The failures, where there can't be others than the former snapshot knew; None: they must be asked for."""
    if detail.state is JobState.RUNNING and restarts == 0 and not detail.restarted_at:
        return ()
    if before and detail.restarted_at > before.began_ms:
        # The metric is up to 10 s old, the job's state isn't.
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


def _read_checkpoints(checkpoints: Checkpoints, now: int) -> CheckpointReading:
    newest = checkpoints.latest.completed
    ended = [item for item in checkpoints.history if item.status != "IN_PROGRESS"]
    in_a_row = next((place for place, item in enumerate(ended) if item.status == "COMPLETED"), len(ended))
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
    )


def _counters(detail: JobDetail, reported: Reported | None, dead_letters: Iterable[str]) -> Counters:
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
            # Not a number where a subtask does not tell.
            0.0 if math.isnan(totals.accumulated_busy_ms) else totals.accumulated_busy_ms,
            totals.accumulated_backpressured_ms,
            totals.accumulated_idle_ms,
        )


def earlier_offsets(target: Target, seen: Seen) -> dict[Partition, int]:
    """For partitions of which nothing was read since the task started, the next offset as it was known before."""
    before = (target.before.splits if target.before else None) or {}
    known = dict(target.started_at or {})
    known |= {
        partition: split.following
        for partition, split in before.items()
        if split.following is not None and not split.is_guessed
    }
    wanted = silent(seen.reported.positions) if seen.reported else frozenset()
    return {partition: known[partition] for partition in wanted if partition in known}


def without_position(target: Target, seen: Seen, held: Held) -> list[Partition]:
    """Partitions whose position neither the readers nor what was known before tells: the job's group may."""
    wanted = silent(seen.reported.positions) if seen.reported else frozenset()
    return sorted((wanted & held.offsets.keys()) - earlier_offsets(target, seen).keys())


def place(
    target: Target, seen: Seen, held: Held, earlier: Mapping[Partition, int]
) -> dict[Partition, SplitReading] | None:
    """The job's splits, as far as that can be said without looking into the topics; None: one of those isn't known."""
    if seen.reported is None or (target.topics and _missing(held, target.topics)):
        return None
    offsets = held.of(target.topics)
    following = next_offsets(seen.reported.positions, offsets, earlier)
    guessed = silent(seen.reported.positions) - earlier.keys()
    splits = read_splits(seen.reported.watermarks, offsets, following, seen.reported.idle, guessed)
    return at_their_ends(splits, known_ends(splits, target.before))


def _missing(held: Held, topics: Iterable[str]) -> tuple[str, ...]:
    """Why the ends of some topics aren't known."""
    if held.trouble:
        return (held.trouble,) if tuple(topics) else ()
    return tuple(f"topic {topic}: {held.missing[topic]}" for topic in topics if topic in held.missing)


def _servers(kafka: Mapping[str, str]) -> str:
    return kafka.get("bootstrap.servers", "")


def now_ms() -> int:
    """Epoch milliseconds."""
    return time.time_ns() // 1_000_000
