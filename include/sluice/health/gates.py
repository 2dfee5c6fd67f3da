"""Gates: what a fresh release must show before it counts as healthy. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Literal

from sluice.flink.models import JobState
from sluice.health.snapshot import Snapshot
from sluice.job.duration import milliseconds
from sluice.job.limits import Health
from sluice.kafka.offsets import Partition

Gate = Literal["running", "consumer_lag", "watermark"]
GATES: tuple[Gate, ...] = ("running", "consumer_lag", "watermark")
"""In the order in which they are passed."""
_NAMED = 5


@dataclass(frozen=True)
class Reading:
    """Where a gate stands.

    Attributes:
        passed: It is passed.
        hopeless: It can't be passed any more.
        words: What was read, with the limit.
    """

    passed: bool
    words: str
    hopeless: bool = False


def judge(gate: Gate, snapshot: Snapshot, health: Health) -> Reading:
    """Where a gate stands with this snapshot."""
    if snapshot.state is None:
        return Reading(passed=False, words="the cluster does not know the job", hopeless=True)
    if snapshot.state.is_terminal:
        cause = f": {snapshot.last_exception}" if snapshot.last_exception else ""
        return Reading(passed=False, words=f"the job is {snapshot.state.value}{cause}", hopeless=True)
    match gate:
        case "running":
            return _running(snapshot)
        case "consumer_lag":
            return _consumer_lag(snapshot, health)
        case "watermark":
            return _watermark(snapshot, health)


def _running(snapshot: Snapshot) -> Reading:
    words = f"{snapshot.tasks_running} of {snapshot.tasks_total} tasks running"
    if snapshot.restarts:
        words += f", {snapshot.restarts} restarts"
    if snapshot.last_exception:
        words += f", last exception: {snapshot.last_exception}"
    if snapshot.state is not JobState.RUNNING or snapshot.tasks_running < snapshot.tasks_total:
        return Reading(passed=False, words=words)
    if not snapshot.completed_checkpoints:
        return Reading(passed=False, words=f"{words}, no checkpoint yet")
    return Reading(passed=True, words=f"{words}, {snapshot.completed_checkpoints} checkpoints")


def _consumer_lag(snapshot: Snapshot, health: Health) -> Reading:
    lag = snapshot.consumer_lag
    if snapshot.reads_nothing:
        return Reading(passed=True, words="reads nothing")
    if lag is None:
        return Reading(passed=False, words=f"the consumer lag{_of(snapshot.with_unknown_lag)} is not known yet")
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
        return Reading(passed=False, words=f"there is no watermark{_of(snapshot.without_watermark)} yet")
    return Reading(passed=False, words=f"watermark {seconds(lag)} behind > {seconds(limit)}")


def _of(partitions: Sequence[Partition]) -> str:
    """Which partitions are meant, as words to insert; the first few by name."""
    if not partitions:
        return ""
    names = ", ".join(f"{topic}-{number}" for topic, number in partitions[:_NAMED])
    rest = len(partitions) - _NAMED
    return f" of {names}" + (f" and {rest} more partitions" if rest > 0 else "")


def seconds(value_ms: float) -> str:
    """Milliseconds for a person."""
    return f"{timedelta(milliseconds=round(value_ms)).total_seconds():.1f} s"
