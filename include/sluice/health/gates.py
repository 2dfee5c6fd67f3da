"""Gates: the conditions that a new release must meet before it counts as healthy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from math import inf, sqrt
from statistics import correlation, linear_regression

from sluice.flink.models import JobState
from sluice.health.faults import is_job_fault
from sluice.health.formatting import named, per_second, seconds
from sluice.health.losses import losses
from sluice.health.snapshot import Snapshot
from sluice.job.duration import milliseconds
from sluice.job.limits import Health


class Gate(StrEnum):
    """A condition of a deploy, or of a DAG that waits for a job. The values are in the database and in XComs."""

    RUNNING = "running"
    CHECKPOINT = "checkpoint"
    CONSUMER_LAG = "consumer_lag"
    WATERMARK = "watermark"


GATES = (Gate.RUNNING, Gate.CONSUMER_LAG, Gate.WATERMARK)
"""The gates of a deploy, in order. `checkpoint` is for jobs that have run for longer."""
REPEATEDLY = ", repeatedly"
"""Ends the reading of a job whose failure repeats."""
_MIN_SPAN_MS = 15_000
"""A trend needs readings over this time: positions are as old as the cluster's metrics, up to 10 s."""
_MAX_SPAN_MS = 60_000
"""Older readings do not count for the present rate."""
_STANDARD_ERRORS = 3
"""The slope must be negative by so many standard errors: a constant lag varies by seconds between metric fetches."""
_MAX_EXTRAPOLATION = 10
"""A trend is extrapolated over at most this many times the span of its readings."""


@dataclass(frozen=True)
class Reading:
    """The state of a gate at one moment.

    Attributes:
        passed: The condition is met.
        words: The figure that was read, and its limit.
        hopeless: The gate can't pass any more; waiting is useless.
        at_ms: When it was read, epoch milliseconds.
        behind: The consumer lag in records, or the watermark lag in milliseconds; None: not known.
    """

    passed: bool
    words: str
    hopeless: bool = False
    at_ms: int = 0
    behind: int | None = None


def judge(
    gate: Gate,
    snapshot: Snapshot,
    health: Health,
    earlier: Sequence[Reading] = (),
    deadline_ms: int | None = None,
    *,
    must_count: bool = True,
) -> Reading:
    """Judge a gate by a snapshot.

    Args:
        gate: The gate.
        snapshot: Of the job.
        health: The job's limits.
        earlier: Earlier readings of this gate, oldest first.
        deadline_ms: When the gate's time is over, epoch milliseconds. A lag that falls fast enough to be inside the
            limit by then passes now.
        must_count: Let the consumer lag's gate wait until every read reports how many records it leaves out. Jobs that
            were started by an older version of Sluice never report that.
    """
    if (most := _mostly_left_out(snapshot, health)) and not _unrecoverable(snapshot, health):
        return Reading(passed=False, words=most, hopeless=True)
    reading = measure(gate, snapshot, health)
    match gate:
        case Gate.CONSUMER_LAG:
            reading = _with_forecast(reading, earlier, health.consumer_lag, deadline_ms)
        case Gate.WATERMARK:
            reading = _with_forecast(reading, earlier, milliseconds(health.watermark_lag), deadline_ms)
        case _:
            return reading
    return _check_input(reading, snapshot, health, must_count=must_count and gate == Gate.CONSUMER_LAG)


def measure(gate: Gate, snapshot: Snapshot, health: Health) -> Reading:
    """Compare a gate's figure with its limit, whatever share of the input is malformed or late."""
    if lost := _unrecoverable(snapshot, health):
        return Reading(passed=False, words=lost, hopeless=True)
    match gate:
        case Gate.RUNNING:
            return _running(snapshot)
        case Gate.CHECKPOINT:
            return _checkpoint(snapshot, health)
        case Gate.CONSUMER_LAG:
            return replace(_consumer_lag(snapshot, health), at_ms=snapshot.at_ms, behind=snapshot.consumer_lag)
        case Gate.WATERMARK:
            return replace(_watermark(snapshot, health), at_ms=snapshot.at_ms, behind=snapshot.watermark_lag_ms)


def _mostly_left_out(snapshot: Snapshot, health: Health) -> str:
    """The reads that leave out most of their input, one line; empty: none does."""
    return "; ".join(loss.words for loss in losses(snapshot, health) if loss.is_judged and loss.is_most)


def _check_input(reading: Reading, snapshot: Snapshot, health: Health, *, must_count: bool) -> Reading:
    """The reading, not passed while tasks aren't running or more of the input is left out than the limits allow."""
    if not reading.passed or snapshot.reads_nothing:
        return reading
    if snapshot.state is not JobState.RUNNING or snapshot.tasks_running < snapshot.tasks_total:
        return replace(reading, passed=False, words=_tasks(snapshot))
    if must_count and snapshot.uncounted:
        words = f"how much of {', '.join(snapshot.uncounted)} is malformed or late is not counted yet"
        return replace(reading, passed=False, words=f"{reading.words}, {words}")
    if over := [loss.words for loss in losses(snapshot, health) if loss.exceeds]:
        return replace(reading, passed=False, words="; ".join((reading.words, *over)))
    return reading


def _unrecoverable(snapshot: Snapshot, health: Health) -> str | None:
    """Why no gate can pass any more; None: they can."""
    if snapshot.state is None:
        return "Flink does not know the job"
    if snapshot.state.is_terminal:
        cause = f": {snapshot.last_exception}" if snapshot.last_exception else ""
        return f"the job is {snapshot.state.value}{cause}"
    return f"{_tasks(snapshot)}{REPEATEDLY}" if _is_crash_loop(snapshot, health) else None


def _tasks(snapshot: Snapshot) -> str:
    words = f"{snapshot.tasks_running} of {snapshot.tasks_total} tasks running"
    if snapshot.restarts:
        words += f", {snapshot.restarts} restarts"
    if snapshot.last_exception:
        words += f", last exception: {snapshot.last_exception}"
    return words


def _running(snapshot: Snapshot) -> Reading:
    words = _tasks(snapshot)
    if snapshot.state is not JobState.RUNNING or snapshot.tasks_running < snapshot.tasks_total:
        return Reading(passed=False, words=words)
    completed = snapshot.checkpoints.completed
    if not completed:
        return Reading(passed=False, words=f"{words}, no checkpoint yet")
    return Reading(passed=True, words=f"{words}, {completed} checkpoints")


def _is_crash_loop(snapshot: Snapshot, health: Health) -> bool:
    """Whether the job restarts repeatedly for one failure of its code or state, which waiting does not repair.

    It may restart as often as its limits allow, and a checkpoint after the newest failure shows progress. A failure
    that the cluster or a broker may have caused is waited for.
    """
    age, newest = snapshot.checkpoints.age_ms, snapshot.recent_failures[:1]
    if newest and age is not None and snapshot.at_ms - age > newest[0].at_ms:
        return False
    return repeats_own_failure(snapshot, health)


def repeats_own_failure(snapshot: Snapshot, health: Health) -> bool:
    """Whether the newest failures, more than the limit allows, have one class, and it is of the job's code or state."""
    newest = snapshot.recent_failures[: health.restarts + 1]
    if len(newest) <= health.restarts:
        return False
    return len({failure.name for failure in newest}) == 1 and is_job_fault(newest[0])


def _checkpoint(snapshot: Snapshot, health: Health) -> Reading:
    age, limit = snapshot.checkpoints.age_ms, milliseconds(health.checkpoint_age)
    if age is None:
        return Reading(passed=False, words="no checkpoint yet")
    sign = "<=" if age <= limit else ">"
    return Reading(passed=age <= limit, words=f"the newest checkpoint is {seconds(age)} old {sign} {seconds(limit)}")


def _consumer_lag(snapshot: Snapshot, health: Health) -> Reading:
    lag = snapshot.consumer_lag
    if snapshot.reads_nothing:
        return Reading(passed=True, words="reads nothing")
    if lag is None:
        unknown = snapshot.with_unknown_lag
        of = f" of {named(unknown)}" if unknown else ""
        return Reading(passed=False, words=_unread_topics(snapshot) or f"the consumer lag{of} is not known yet")
    sign = "<=" if lag <= health.consumer_lag else ">"
    return Reading(
        passed=lag <= health.consumer_lag, words=f"consumer lag {lag:,} {sign} {health.consumer_lag:,} records"
    )


def _watermark(snapshot: Snapshot, health: Health) -> Reading:
    lag, limit = snapshot.watermark_lag_ms, milliseconds(health.watermark_lag)
    if snapshot.reads_nothing:
        return Reading(passed=True, words="reads nothing")
    if snapshot.has_no_event_time:
        return Reading(passed=True, words=f"{_without_event_time(snapshot)} no event time, so the job has no watermark")
    if lag is not None and lag <= limit:
        return Reading(passed=True, words=f"watermark {seconds(lag)} behind <= {seconds(limit)}")
    if snapshot.is_idle:
        return _read_to_end(snapshot, health)
    if lag is None:
        missing = snapshot.without_watermark
        of = f" of {named(missing)}" if missing else ""
        return Reading(passed=False, words=_unread_topics(snapshot) or f"there is no watermark{of} yet")
    return Reading(passed=False, words=f"watermark {seconds(lag)} behind > {seconds(limit)}")


def _read_to_end(snapshot: Snapshot, health: Health) -> Reading:
    """Judge a job that has read everything, without a recent watermark: no input came, or all of it was left out."""
    if lost := [each for each in losses(snapshot, health) if each.exceeds]:
        return Reading(passed=False, words="; ".join(("there is no recent watermark", *(each.words for each in lost))))
    return Reading(passed=True, words="no input: the job has read all records, so its watermark does not advance")


def _unread_topics(snapshot: Snapshot) -> str | None:
    """Why the job will never report positions of a topic; without this reason the gate would wait for its deadline."""
    if not snapshot.unread:
        return None
    names = ", ".join(snapshot.unread)
    return f"no Kafka source of the job reads {names}: use its table in the pipeline, or remove it from the job's reads"


def _without_event_time(snapshot: Snapshot) -> str:
    """The topics without event time, with their verb."""
    names = sorted(snapshot.untimed)
    return f"{', '.join(names)} {'declares' if len(names) == 1 else 'declare'}"


def _with_forecast(reading: Reading, earlier: Sequence[Reading], limit: int, deadline_ms: int | None) -> Reading:
    """The reading; passed too if the lag falls fast enough to be inside the limit by the deadline."""
    if reading.passed or reading.behind is None or deadline_ms is None:
        return reading
    points = [
        (past.at_ms - reading.at_ms, past.behind)
        for past in (*earlier, reading)
        if past.behind is not None and past.at_ms >= reading.at_ms - _MAX_SPAN_MS
    ]
    if -points[0][0] < _MIN_SPAN_MS:
        return reading
    slope = linear_regression(*zip(*points, strict=True)).slope
    if slope >= 0 or slope + _STANDARD_ERRORS * _standard_error(points, slope) >= 0:
        return reading
    needed, left = (reading.behind - limit) / -slope, deadline_ms - reading.at_ms
    # Records per second for the consumer lag; seconds per second for the watermark lag.
    rate = per_second(slope * 1000) if reading.words.startswith("consumer lag") else f"{-slope:.1f} s/s"
    words = (
        f"{reading.words}, falling {rate}: inside the limit in {seconds(needed)}, the deadline is in {seconds(left)}"
    )
    return replace(reading, passed=needed <= min(left, _MAX_EXTRAPOLATION * -points[0][0]), words=words)


def _standard_error(points: Sequence[tuple[int, int]], slope: float) -> float:
    """The standard error of a regression line's slope, from the correlation of its points."""
    if len(points) <= 2:
        return 0.0
    explained = correlation(*zip(*points, strict=True)) ** 2
    return float(abs(slope) * sqrt(max(0.0, 1 / explained - 1) / (len(points) - 2))) if explained else inf
