"""Gates: what a fresh release must show before it counts as healthy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from math import inf, sqrt
from statistics import correlation, linear_regression
from typing import Literal

from sluice.flink.models import JobState
from sluice.health.faults import is_of_the_job
from sluice.health.losses import losses
from sluice.health.snapshot import Snapshot
from sluice.health.words import named, per_second, seconds
from sluice.job.duration import milliseconds
from sluice.job.limits import Health

Gate = Literal["running", "checkpoint", "consumer_lag", "watermark"]
GATES: tuple[Gate, ...] = ("running", "consumer_lag", "watermark")
"""Those of a deploy, in the order in which they are passed. A job that has run for longer has `checkpoint` as well."""
_LEAST_SPAN_MS = 15_000
"""Over how long readings must fall to be believed: positions are as old as the cluster's metrics, up to 10 s."""
_SPAN_MS = 60_000
"""Readings that are older say nothing of how fast it goes now."""
_ERRORS = 3
"""Standard errors by which it must fall: a lag that stands still goes up and down by seconds with the metrics."""
_AHEAD = 10
"""How many times as far as the readings reach it may be foretold."""


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
    gate: Gate,
    snapshot: Snapshot,
    health: Health,
    earlier: Sequence[Reading] = (),
    deadline_ms: int | None = None,
    *,
    must_count: bool = True,
) -> Reading:
    """Where a gate stands with this snapshot.

    Args:
        gate: Which one.
        snapshot: Of the job.
        health: The job's limits.
        earlier: Readings of this gate, oldest first.
        deadline_ms: Until when it must be inside the limit, epoch milliseconds: what falls fast enough passes now.
        must_count: The consumer lag's gate waits until each read counts what it leaves out. A job that an older Sluice
            has started does not count it.
    """
    if (most := _mostly_lost(snapshot, health)) and not _lost(snapshot, health):
        return Reading(passed=False, words=most, hopeless=True)
    reading = measure(gate, snapshot, health)
    match gate:
        case "consumer_lag":
            reading = _catching_up(reading, earlier, health.consumer_lag, deadline_ms)
        case "watermark":
            reading = _catching_up(reading, earlier, milliseconds(health.watermark_lag), deadline_ms)
        case _:
            return reading
    return _understood(reading, snapshot, health, must_count=must_count and gate == "consumer_lag")


def measure(gate: Gate, snapshot: Snapshot, health: Health) -> Reading:
    """What a gate looks at, held against its limit; whether the job understands its input is not looked at."""
    if lost := _lost(snapshot, health):
        return Reading(passed=False, words=lost, hopeless=True)
    match gate:
        case "running":
            return _running(snapshot)
        case "checkpoint":
            return _checkpoint(snapshot, health)
        case "consumer_lag":
            return replace(_consumer_lag(snapshot, health), at_ms=snapshot.at_ms, behind=snapshot.consumer_lag)
        case "watermark":
            return replace(_watermark(snapshot, health), at_ms=snapshot.at_ms, behind=snapshot.watermark_lag_ms)


def _mostly_lost(snapshot: Snapshot, health: Health) -> str:
    """What is left out of the input where that is most of it; empty: it isn't."""
    return "; ".join(loss.words for loss in losses(snapshot, health) if loss.is_judged and loss.is_most)


def _understood(reading: Reading, snapshot: Snapshot, health: Health, *, must_count: bool) -> Reading:
    """The reading; not passed as long as tasks don't run, or more is left out of the input than the limits allow."""
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


def _lost(snapshot: Snapshot, health: Health) -> str | None:
    """Why no gate can be passed any more."""
    if snapshot.state is None:
        return "the cluster does not know the job"
    if snapshot.state.is_terminal:
        cause = f": {snapshot.last_exception}" if snapshot.last_exception else ""
        return f"the job is {snapshot.state.value}{cause}"
    return f"{_tasks(snapshot)}, again and again" if _fails_by_itself(snapshot, health) else None


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


def _fails_by_itself(snapshot: Snapshot, health: Health) -> bool:
    """Whether it is in a loop of restarts for one failure of its code or state, which no waiting mends.

    It may start again as often as its limits allow; a checkpoint since then shows that it gets on. What the cluster or
    a broker may be at fault for is waited for.
    """
    age, newest = snapshot.checkpoints.age_ms, snapshot.recent_failures[:1]
    if newest and age is not None and snapshot.at_ms - age > newest[0].at_ms:
        return False
    return repeats_its_failure(snapshot, health)


def repeats_its_failure(snapshot: Snapshot, health: Health) -> bool:
    """Whether its newest failures, more than its limits allow, are one failure of its code or state."""
    newest = snapshot.recent_failures[: health.restarts + 1]
    if len(newest) <= health.restarts:
        return False
    return len({failure.name for failure in newest}) == 1 and is_of_the_job(newest[0])


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
        return Reading(passed=False, words=_unread(snapshot) or f"the consumer lag{of} is not known yet")
    sign = "<=" if lag <= health.consumer_lag else ">"
    return Reading(
        passed=lag <= health.consumer_lag, words=f"consumer lag {lag:,} {sign} {health.consumer_lag:,} records"
    )


def _watermark(snapshot: Snapshot, health: Health) -> Reading:
    lag, limit = snapshot.watermark_lag_ms, milliseconds(health.watermark_lag)
    if snapshot.reads_nothing:
        return Reading(passed=True, words="reads nothing")
    if snapshot.has_no_event_time:
        return Reading(passed=True, words=f"{_declares(snapshot)} no event time: there is no watermark to judge")
    if lag is not None and lag <= limit:
        return Reading(passed=True, words=f"watermark {seconds(lag)} behind <= {seconds(limit)}")
    if snapshot.is_idle:
        return _read_to_end(snapshot, health)
    if lag is None:
        missing = snapshot.without_watermark
        of = f" of {named(missing)}" if missing else ""
        return Reading(passed=False, words=_unread(snapshot) or f"there is no watermark{of} yet")
    return Reading(passed=False, words=f"watermark {seconds(lag)} behind > {seconds(limit)}")


def _read_to_end(snapshot: Snapshot, health: Health) -> Reading:
    """Without a fresh watermark: there is no input, unless records came that could not move it."""
    if lost := [each for each in losses(snapshot, health) if each.exceeds]:
        return Reading(passed=False, words="; ".join(("there is no fresh watermark", *(each.words for each in lost))))
    return Reading(passed=True, words="no input: all was read, the watermark has nothing to follow")


def _unread(snapshot: Snapshot) -> str | None:
    """Why nothing will be known of it for as long as the job runs; told at once, since only the deadline ends that."""
    if not snapshot.unread:
        return None
    names = ", ".join(snapshot.unread)
    return f"no Kafka source of the job reads {names}: read it by its table, or take it out of the job's reads"


def _declares(snapshot: Snapshot) -> str:
    names = sorted(snapshot.untimed)
    return f"{', '.join(names)} {'declares' if len(names) == 1 else 'declare'}"


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
    if slope >= 0 or slope + _ERRORS * _standard_error(points, slope) >= 0:
        return reading
    needed, left = (reading.behind - limit) / -slope, deadline_ms - reading.at_ms
    # Records per second; or by how many seconds a watermark comes nearer in one.
    rate = per_second(slope * 1000) if reading.words.startswith("consumer lag") else f"{-slope:.1f} s/s"
    words = (
        f"{reading.words}, falling {rate}: inside the limit in {seconds(needed)}, the deadline is in {seconds(left)}"
    )
    return replace(reading, passed=needed <= min(left, _AHEAD * -points[0][0]), words=words)


def _standard_error(points: Sequence[tuple[int, int]], slope: float) -> float:
    """Of the slope of a regression line, by the correlation of its points."""
    if len(points) <= 2:
        return 0.0
    explained = correlation(*zip(*points, strict=True)) ** 2
    return float(abs(slope) * sqrt(max(0.0, 1 / explained - 1) / (len(points) - 2))) if explained else inf
