"""The verdict on a job, from a snapshot and the job's limits. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from sluice.flink.models import JobState
from sluice.health.formatting import clock, named, per_second, percent, seconds
from sluice.health.gates import Gate, measure
from sluice.health.losses import losses
from sluice.health.snapshot import WINDOW_MS, Snapshot
from sluice.job.duration import milliseconds
from sluice.job.limits import Health


class VerdictState(StrEnum):
    """How a job is; the values are in the database, in JSON and in metrics."""

    HEALTHY = "healthy"
    DEGRADED = "degraded"
    FAILED = "failed"
    IDLE = "idle"
    UNKNOWN = "unknown"


_WORST_FIRST = (VerdictState.FAILED, VerdictState.DEGRADED, VerdictState.UNKNOWN)
_FAILED_CHECKPOINTS = 3
"""So many failures in a row degrade a job before its newest checkpoint is older than the limit."""
_BACKPRESSURED = 0.5
"""A source that waits for a larger share of the time is backpressured."""
_NOISE_SHARE = 0.1
"""A rising lag below this share of the limit is noise."""

Finding = tuple[VerdictState, str]
"""The result of one check with its reason; `healthy` with a reason is worth knowing, and no fault of the job."""


@dataclass(frozen=True)
class Verdict:
    """How a job is, and why."""

    state: VerdictState
    reasons: tuple[str, ...]


def verdict(snapshot: Snapshot, health: Health) -> Verdict:
    """Judge a job that should run.

    failed: it doesn't run, or makes no progress: it restarts repeatedly, or does not consume its input.
    degraded: it runs outside its limits.
    unknown: a figure can't be read, or not yet, while the job starts.
    idle: it is healthy and no record arrives, by the topics' end offsets or by the sources' counters.
    """
    if snapshot.state is None:
        return Verdict(VerdictState.FAILED, ("Flink does not know the job",))
    if snapshot.state.is_terminal:
        return Verdict(VerdictState.FAILED, (_ended(snapshot, snapshot.state),))
    checks = (_problems, _tasks, _restarts, _checkpoints, _stalls, _losses, _progress, _backpressure, _dropped)
    found = [finding for check in checks for finding in check(snapshot, health)]
    worst = next((state for state in _WORST_FIRST if any(state == s for s, _ in found)), VerdictState.HEALTHY)
    if worst == VerdictState.HEALTHY and _has_no_input(snapshot, health):
        worst = VerdictState.IDLE
        found.insert(0, (VerdictState.IDLE, "no input"))
    return Verdict(worst, tuple(words for _, words in found))


def _ended(snapshot: Snapshot, state: JobState) -> str:
    words = f"the job is {state.value}"
    if snapshot.last_exception and state is JobState.FAILED:
        return f"{words}: {snapshot.last_exception}"
    how = {
        JobState.CANCELED: "no operation of Sluice cancelled it",
        JobState.FINISHED: "no operation of Sluice stopped it",
    }
    return f"{words}: {how[state]}" if state in how else words


def _is_starting(snapshot: Snapshot, health: Health) -> bool:
    """Whether its tasks started or restarted a short time ago, so that some figures can't exist yet."""
    since = [snapshot.running_ms, *(snapshot.at_ms - failure.at_ms for failure in snapshot.failures[:1])]
    return min(since) <= milliseconds(health.start_timeout)


def _problems(snapshot: Snapshot, _health: Health) -> Iterator[Finding]:
    for words in snapshot.problems:
        yield VerdictState.UNKNOWN, words
    if snapshot.trend.is_stale and snapshot.trend.since_ms is not None:
        since = clock(snapshot.trend.since_ms)
        yield VerdictState.UNKNOWN, f"Flink has fetched no new metrics since {since}"


def _tasks(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    if snapshot.state is JobState.RUNNING and snapshot.tasks_running >= snapshot.tasks_total:
        return
    state = snapshot.state.value.lower() if snapshot.state else ""
    words = f"{state}: {measure(Gate.RUNNING, snapshot, health).words}"
    if _is_starting(snapshot, health) and not snapshot.restarts and not snapshot.failures:
        yield VerdictState.UNKNOWN, f"{words}: it is starting"
        return
    age = snapshot.running_ms if snapshot.checkpoints.age_ms is None else snapshot.checkpoints.age_ms
    yield VerdictState.FAILED if age > milliseconds(health.start_timeout) else VerdictState.DEGRADED, words


def _restarts(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    recent = snapshot.recent_failures
    if not recent:
        return
    last = f"the last at {clock(recent[0].at_ms)}: {recent[0].words}"
    count, limit = len(recent), health.restarts
    times = "once" if count == 1 else f"{count} times"
    words = f"restarted {times} in {WINDOW_MS // 60_000} min"
    if count <= limit:
        yield VerdictState.HEALTHY, f"{words}, {last}"
        return
    age = snapshot.checkpoints.age_ms
    has_progress = age is not None and snapshot.at_ms - age > recent[0].at_ms
    # A checkpoint after the newest failure shows progress between the restarts.
    yield VerdictState.DEGRADED if has_progress else VerdictState.FAILED, f"{words} > {limit}, {last}"


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
        yield VerdictState.DEGRADED, f"{what} > {seconds(limit)}{failed}"
    elif row >= _FAILED_CHECKPOINTS and age > limit / 2:
        yield VerdictState.DEGRADED, f"{row} checkpoints failed in a row in {seconds(age)}, {cause}"
    elif len(reading.failures) >= _FAILED_CHECKPOINTS:
        words = f"{len(reading.failures)} checkpoints failed in {WINDOW_MS // 60_000} min, {cause}"
        yield VerdictState.HEALTHY, words


def _stalls(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    limit = milliseconds(health.stall)
    splits, stalled = snapshot.splits or {}, snapshot.stalled_splits(limit)
    if not stalled:
        return
    since = min(stalled.values())
    waiting = sum(splits[partition].lag or 0 for partition in stalled)
    count = "partition" if len(stalled) == 1 else f"{len(stalled)} of {len(splits)} partitions,"
    words = f"{count} {named(list(stalled))} not consumed since {clock(since)}, with {waiting:,} records to read"
    yield VerdictState.FAILED, f"{words}: {seconds(snapshot.at_ms - since)} > {seconds(limit)}"


def _progress(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    lag, watermark = measure(Gate.CONSUMER_LAG, snapshot, health), measure(Gate.WATERMARK, snapshot, health)
    if snapshot.consumer_lag is None:
        if snapshot.problems or snapshot.state is not JobState.RUNNING:
            # Another check reports the reason.
            return
        words = lag.words
        if not snapshot.unread and not _is_starting(snapshot, health):
            words = f"{words.removesuffix(' yet')}: its readers report no position; only Kafka's readers do"
        yield VerdictState.UNKNOWN, words
        return
    if not lag.passed:
        yield VerdictState.DEGRADED, f"{lag.words}{_direction(snapshot, health)}"
    if not watermark.passed and snapshot.state is JobState.RUNNING:
        unknown = snapshot.watermark_lag_ms is None and _is_starting(snapshot, health)
        state = VerdictState.UNKNOWN if unknown else VerdictState.DEGRADED
        yield state, f"{watermark.words}{_without_idle_timeout(snapshot)}"


def _direction(snapshot: Snapshot, health: Health) -> str:
    rate, lag = snapshot.trend.lag_per_s, snapshot.consumer_lag
    if rate is None or lag is None:
        return ""
    if abs(rate) < 1:
        return ", steady"
    if rate > 0:
        return f", rising {per_second(rate)}"
    return f", falling {per_second(rate)}: inside the limit in {seconds((lag - health.consumer_lag) / -rate * 1000)}"


def _without_idle_timeout(snapshot: Snapshot) -> str:
    """The partitions that hold the watermark back although they have no records to read."""
    empty = [
        partition for partition, split in snapshot.timed_splits.items() if split.is_idle is False and split.lag == 0
    ]
    return f": {named(empty)} has no input and no idle_timeout" if empty else ""


def _backpressure(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    rate, lag, backpressured = snapshot.trend.lag_per_s, snapshot.consumer_lag, snapshot.backpressured
    if rate is None or lag is None or backpressured is None or backpressured < _BACKPRESSURED:
        return
    if rate < 1 or lag < health.consumer_lag * _NOISE_SHARE:
        return
    busiest = max(snapshot.trend.loads, key=lambda load: load.busy, default=None)
    where = f"; busiest: {busiest.name[:80]}, {percent(busiest.busy)} of the time" if busiest else ""
    words = (
        f"backpressure: the source waits {percent(backpressured)} of the time, lag {lag:,} rising {per_second(rate)}"
    )
    yield VerdictState.DEGRADED, f"{words}{where}"


def _dropped(snapshot: Snapshot, _health: Health) -> Iterator[Finding]:
    """Dropped rows are a fact of the past, which the job can't repair: reported, without an effect on the verdict."""
    if dropped := snapshot.counters.late_dropped:
        yield VerdictState.HEALTHY, f"windows have dropped {dropped:,} rows that came behind the watermark"


def _losses(snapshot: Snapshot, health: Health) -> Iterator[Finding]:
    """What is left out of the input, and which reads don't count that, as in jobs of an older version of Sluice."""
    for loss in losses(snapshot, health):
        state = VerdictState.HEALTHY
        if loss.is_judged and loss.exceeds:
            state = VerdictState.FAILED if loss.is_most else VerdictState.DEGRADED
        yield state, loss.words
    if snapshot.uncounted and snapshot.state is JobState.RUNNING:
        names = ", ".join(snapshot.uncounted)
        words = f"how much of {names} is malformed or late is not counted"
        advice = " yet" if _is_starting(snapshot, health) else ": redeploy the job with --mode savepoint to count it"
        yield VerdictState.UNKNOWN, f"{words}{advice}"


def _has_no_input(snapshot: Snapshot, health: Health) -> bool:
    """Whether it has read all records, and no more arrive."""
    lag = snapshot.watermark_lag_ms
    is_fresh = lag is not None and lag <= milliseconds(health.watermark_lag)
    return snapshot.is_idle and snapshot.nothing_arrives and not is_fresh
