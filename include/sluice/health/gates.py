"""Gates: what a fresh release must show before it counts as healthy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from statistics import linear_regression
from typing import Literal

from sluice.flink.models import JobState
from sluice.health.snapshot import Snapshot
from sluice.health.words import named, per_second, seconds
from sluice.job.duration import milliseconds
from sluice.job.limits import Health

Gate = Literal["running", "consumer_lag", "watermark"]
GATES: tuple[Gate, ...] = ("running", "consumer_lag", "watermark")
"""In the order in which they are passed."""
_LEAST_SPAN_MS = 15_000
"""Over how long readings must fall to be believed: positions are as old as the cluster's metrics, up to 10 s."""
_SPAN_MS = 60_000
"""Readings that are older say nothing of how fast it goes now."""


@dataclass(frozen=True)
class Reading:
    """Where a gate stands.

    Attributes:
        passed: It is passed.
        words: What was read, with the limit.
        hopeless: It can't be passed any more.
        at_ms: When, epoch milliseconds.
        behind: How far behind the job is: records for the consumer lag, milliseconds for the watermark; None: unknown.
    """

    passed: bool
    words: str
    hopeless: bool = False
    at_ms: int = 0
    behind: int | None = None


def judge(
    gate: Gate, snapshot: Snapshot, health: Health, earlier: Sequence[Reading] = (), deadline_ms: int | None = None
) -> Reading:
    """Where a gate stands with this snapshot.

    Args:
        gate: Which one.
        snapshot: Of the job.
        health: The job's limits.
        earlier: Readings of this gate, oldest first.
        deadline_ms: Until when it must be inside the limit, epoch milliseconds: what falls fast enough passes now.
    """
    if snapshot.state is None:
        return Reading(passed=False, words="the cluster does not know the job", hopeless=True)
    if snapshot.state.is_terminal:
        cause = f": {snapshot.last_exception}" if snapshot.last_exception else ""
        return Reading(passed=False, words=f"the job is {snapshot.state.value}{cause}", hopeless=True)
    match gate:
        case "running":
            return _running(snapshot)
        case "consumer_lag":
            reading = replace(_consumer_lag(snapshot, health), at_ms=snapshot.at_ms, behind=snapshot.consumer_lag)
            return _catching_up(reading, earlier, health.consumer_lag, deadline_ms)
        case "watermark":
            reading = replace(_watermark(snapshot, health), at_ms=snapshot.at_ms, behind=snapshot.watermark_lag_ms)
            return _catching_up(reading, earlier, milliseconds(health.watermark_lag), deadline_ms)


def _running(snapshot: Snapshot) -> Reading:
    words = f"{snapshot.tasks_running} of {snapshot.tasks_total} tasks running"
    if snapshot.restarts:
        words += f", {snapshot.restarts} restarts"
    if snapshot.last_exception:
        words += f", last exception: {snapshot.last_exception}"
    if snapshot.state is not JobState.RUNNING or snapshot.tasks_running < snapshot.tasks_total:
        return Reading(passed=False, words=words)
    completed = snapshot.checkpoints.completed
    if not completed:
        return Reading(passed=False, words=f"{words}, no checkpoint yet")
    return Reading(passed=True, words=f"{words}, {completed} checkpoints")


def _consumer_lag(snapshot: Snapshot, health: Health) -> Reading:
    lag = snapshot.consumer_lag
    if snapshot.reads_nothing:
        return Reading(passed=True, words="reads nothing")
    if lag is None:
        unknown = snapshot.with_unknown_lag
        of = f" of {named(unknown)}" if unknown else ""
        return Reading(passed=False, words=f"the consumer lag{of} is not known yet")
    sign = "<=" if lag <= health.consumer_lag else ">"
    return Reading(
        passed=lag <= health.consumer_lag, words=f"consumer lag {lag:,} {sign} {health.consumer_lag:,} records"
    )


def _watermark(snapshot: Snapshot, health: Health) -> Reading:
    lag, limit = snapshot.watermark_lag_ms, milliseconds(health.watermark_lag)
    if snapshot.reads_nothing:
        return Reading(passed=True, words="reads nothing")
    if lag is not None and lag <= limit:
        return Reading(passed=True, words=f"watermark {seconds(lag)} behind <= {seconds(limit)}")
    if snapshot.is_idle:
        return Reading(passed=True, words="no input: all was read, the watermark has nothing to follow")
    if lag is None:
        missing = snapshot.without_watermark
        of = f" of {named(missing)}" if missing else ""
        return Reading(passed=False, words=f"there is no watermark{of} yet")
    return Reading(passed=False, words=f"watermark {seconds(lag)} behind > {seconds(limit)}")


def _catching_up(reading: Reading, earlier: Sequence[Reading], limit: int, deadline_ms: int | None) -> Reading:
    """The reading; passed as well if it is falling fast enough to be inside the limit by the deadline."""
    if reading.passed or reading.behind is None or deadline_ms is None:
        return reading
    points = [
        (past.at_ms - reading.at_ms, past.behind)
        for past in (*earlier, reading)
        if past.behind is not None and past.at_ms >= reading.at_ms - _SPAN_MS
    ]
    if -points[0][0] < _LEAST_SPAN_MS:
        return reading
    slope = linear_regression(*zip(*points, strict=True)).slope
    if slope >= 0:
        return reading
    needed, left = (reading.behind - limit) / -slope, deadline_ms - reading.at_ms
    # Records per second; or by how many seconds a watermark comes nearer in one.
    rate = per_second(slope * 1000) if reading.words.startswith("consumer lag") else f"{-slope:.1f} s/s"
    words = (
        f"{reading.words}, falling {rate}: inside the limit in {seconds(needed)}, the deadline is in {seconds(left)}"
    )
    return replace(reading, passed=needed <= left, words=words)
