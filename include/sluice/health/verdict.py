"""The verdict on a job: pure, from a snapshot and the job's limits."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from sluice.flink.models import JobState
from sluice.health.gates import measure
from sluice.health.losses import losses
from sluice.health.snapshot import WINDOW_MS, Snapshot
from sluice.health.words import clock, named, per_second, percent, seconds
from sluice.job.duration import milliseconds
from sluice.job.limits import Health

State = Literal["healthy", "degraded", "failed", "idle", "unknown"]
STATES: tuple[State, ...] = ("healthy", "degraded", "failed", "idle", "unknown")
_WORST_FIRST: tuple[State, ...] = ("failed", "degraded", "unknown")
_FAILED_CHECKPOINTS = 3
"""In a row, before the limit of the checkpoint's age is reached."""
_BACKPRESSURED = 0.5
"""Share of the time from which on a source counts as held up."""
_OF_THE_LIMIT = 0.1
"""Below this share of the limit a rising lag is noise."""

Finding = tuple[State, str]
"""What one look says, and why; `healthy`: something to know that is no fault of the job's."""


@dataclass(frozen=True)
class Verdict:
    """What is thought of a job, and why."""

    state: State
    reasons: tuple[str, ...]


def verdict(snapshot: Snapshot, health: Health) -> Verdict:
    """Judge a job that should run.

    failed: it doesn't run, or runs without getting on: a restart loop, records that nobody reads.
    degraded: it runs outside its limits.
    unknown: a limit can't be looked at; at the start of a job, not yet.
    idle: all is well, and no record arrives: by the brokers' ends, or by what the sources have counted.
    """
    if snapshot.state is None:
        return Verdict("failed", ("the cluster does not know the job",))
    if snapshot.state.is_terminal:
        return Verdict("failed", (_ended(snapshot, snapshot.state),))
    looks = (_problems, _tasks, _restarts, _checkpoints, _stalls, _losses, _progress, _backpressure, _dropped)
    found = [finding for look in looks for finding in look(snapshot, health)]
    worst: State = next((state for state in _WORST_FIRST if any(state == s for s, _ in found)), "healthy")
    if worst == "healthy" and _is_quiet(snapshot, health):
        worst = "idle"
        found.insert(0, ("idle", "no input"))
    return Verdict(worst, tuple(words for _, words in found))


def _ended(snapshot: Snapshot, state: JobState) -> str:
    words = f"the job is {state.value}"
    if snapshot.last_exception and state is JobState.FAILED:
        return f"{words}: {snapshot.last_exception}"
    how = {
        JobState.CANCELED: "somebody cancelled it, and no operation of the ledger did",
        JobState.FINISHED: "it came to its end, and no operation of the ledger stopped it",
    }
    return f"{words}: {how[state]}" if state in how else words


def _is_starting(snapshot: Snapshot, health: Health) -> bool:
    """Its tasks have begun not long ago, or begun anew: some things can't be there yet."""
    since = [snapshot.running_ms, *(snapshot.at_ms - failure.at_ms for failure in snapshot.failures[:1])]
    return min(since) <= milliseconds(health.start_timeout)


def _problems(snapshot: Snapshot, _health: Health) -> Iterator[Finding]:
    for words in snapshot.problems:
        yield "unknown", words
    if snapshot.trend.is_stale and snapshot.trend.since_ms is not None:
        yield "unknown", f"the cluster's metrics have not moved since {clock(snapshot.trend.since_ms)}"


def _tasks(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    if snapshot.state is JobState.RUNNING and snapshot.tasks_running >= snapshot.tasks_total:
        return
    state = snapshot.state.value.lower() if snapshot.state else ""
    words = f"{state}: {measure('running', snapshot, health).words}"
    if _is_starting(snapshot, health) and not snapshot.restarts and not snapshot.failures:
        yield "unknown", f"{words}: it is starting"
        return
    age = snapshot.running_ms if snapshot.checkpoints.age_ms is None else snapshot.checkpoints.age_ms
    yield "failed" if age > milliseconds(health.start_timeout) else "degraded", words


def _restarts(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    recent = snapshot.recent_failures
    if not recent:
        return
    last = f"the last at {clock(recent[0].at_ms)}: {recent[0].words}"
    count, limit = len(recent), health.restarts
    times = "once" if count == 1 else f"{count} times"
    words = f"restarted {times} in {WINDOW_MS // 60_000} min"
    if count <= limit:
        yield "healthy", f"{words}, {last}"
        return
    age = snapshot.checkpoints.age_ms
    goes_on = age is not None and snapshot.at_ms - age > recent[0].at_ms
    # With a checkpoint since, it gets on, if haltingly.
    yield "degraded" if goes_on else "failed", f"{words} > {limit}, {last}"


def _checkpoints(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    reading, limit = snapshot.checkpoints, milliseconds(health.checkpoint_age)
    age = snapshot.running_ms if reading.age_ms is None else reading.age_ms
    row = reading.failed_in_a_row
    cause = ""
    if reading.failures:
        cause = f"the last at {clock(reading.failures[0].at_ms)}: {reading.failures[0].words}"
    if age > limit:
        what = f"no checkpoint for {seconds(age)}"
        if reading.age_ms is not None:
            what = f"the last checkpoint is {seconds(age)} old"
        failed = f", {row} failed since, {cause}" if row and cause else ""
        yield "degraded", f"{what} > {seconds(limit)}{failed}"
    elif row >= _FAILED_CHECKPOINTS and age > limit / 2:
        yield "degraded", f"{row} checkpoints failed in a row in {seconds(age)}, {cause}"
    elif len(reading.failures) >= _FAILED_CHECKPOINTS:
        yield "healthy", f"{len(reading.failures)} checkpoints failed in {WINDOW_MS // 60_000} min, {cause}"


def _stalls(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    limit = milliseconds(health.stall)
    splits, still = snapshot.splits or {}, snapshot.standing(limit)
    if not still:
        return
    since = min(still.values())
    waiting = sum(splits[partition].lag or 0 for partition in still)
    whose = "partition" if len(still) == 1 else f"{len(still)} of {len(splits)} partitions,"
    words = f"{whose} {named(list(still))} not consumed since {clock(since)}, with {waiting:,} records to read"
    yield "failed", f"{words}: {seconds(snapshot.at_ms - since)} > {seconds(limit)}"


def _progress(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    lag, watermark = measure("consumer_lag", snapshot, health), measure("watermark", snapshot, health)
    if snapshot.consumer_lag is None:
        if snapshot.problems or snapshot.state is not JobState.RUNNING:
            # The reason is given already.
            return
        words = lag.words
        if not snapshot.unread and not _is_starting(snapshot, health):
            words = f"{words.removesuffix(' yet')}: its readers report no position, as sources other than Kafka's do"
        yield "unknown", words
        return
    if not lag.passed:
        yield "degraded", f"{lag.words}{_direction(snapshot, health)}"
    if not watermark.passed and snapshot.state is JobState.RUNNING:
        unknown = snapshot.watermark_lag_ms is None and _is_starting(snapshot, health)
        yield "unknown" if unknown else "degraded", f"{watermark.words}{_held_back(snapshot)}"


def _direction(snapshot: Snapshot, health: Health) -> str:
    rate, lag = snapshot.trend.lag_per_s, snapshot.consumer_lag
    if rate is None or lag is None:
        return ""
    if abs(rate) < 1:
        return ", steady"
    if rate > 0:
        return f", rising {per_second(rate)}"
    return f", falling {per_second(rate)}: inside the limit in {seconds((lag - health.consumer_lag) / -rate * 1000)}"


def _held_back(snapshot: Snapshot) -> str:
    """Which partitions hold the watermark back without having anything to read."""
    silent = [
        partition for partition, split in snapshot.timed_splits.items() if split.is_idle is False and split.lag == 0
    ]
    return f": {named(silent)} has no input and no idle_timeout" if silent else ""


def _backpressure(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    rate, lag, held_up = snapshot.trend.lag_per_s, snapshot.consumer_lag, snapshot.backpressured
    if rate is None or lag is None or held_up is None or held_up < _BACKPRESSURED:
        return
    if rate < 1 or lag < health.consumer_lag * _OF_THE_LIMIT:
        return
    busiest = max(snapshot.trend.loads, key=lambda load: load.busy, default=None)
    where = f"; busiest: {busiest.name[:80]}, {percent(busiest.busy)} of the time" if busiest else ""
    words = f"backpressure: the source waits {percent(held_up)} of the time, lag {lag:,} rising {per_second(rate)}"
    yield "degraded", f"{words}{where}"


def _dropped(snapshot: Snapshot, _health: Health) -> Iterator[Finding]:
    """It happened once and can't be mended by the job: told for as long as Flink counts it, and no state of its own."""
    if dropped := snapshot.counters.late_dropped:
        yield "healthy", f"windows have dropped {dropped:,} rows that came behind the watermark"


def _losses(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    """What is left out of the input; a job that an older Sluice has started does not count it."""
    for loss in losses(snapshot, health):
        state: State = "healthy"
        if loss.is_judged and loss.exceeds:
            state = "failed" if loss.is_most else "degraded"
        yield state, loss.words
    if snapshot.uncounted and snapshot.state is JobState.RUNNING:
        names = ", ".join(snapshot.uncounted)
        words = f"how much of {names} is malformed or late is not counted"
        is_new = _is_starting(snapshot, health)
        yield "unknown", f"{words} yet" if is_new else f"{words}: redeploy the job with --mode savepoint to count it"


def _is_quiet(snapshot: Snapshot, health: Health) -> bool:
    """Everything was read, and no record arrives."""
    lag = snapshot.watermark_lag_ms
    is_fresh = lag is not None and lag <= milliseconds(health.watermark_lag)
    return snapshot.is_idle and snapshot.nothing_arrives and not is_fresh
