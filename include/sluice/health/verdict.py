"""The verdict on a job: pure, from a snapshot and the job's limits."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from sluice.flink.models import JobState
from sluice.health.gates import judge, seconds
from sluice.health.snapshot import Snapshot
from sluice.job.duration import milliseconds
from sluice.job.limits import Health

State = Literal["healthy", "degraded", "failed", "idle", "unknown"]


@dataclass(frozen=True)
class Verdict:
    """What is thought of a job, and why."""

    state: State
    reasons: tuple[str, ...]


def verdict(snapshot: Snapshot, health: Health) -> Verdict:
    """Judge a job that should run.

    `failed`: it doesn't run. `degraded`: it runs outside its limits. `unknown`: a limit can't be looked at.
    `idle`: all is well, and there is no input.
    """
    if snapshot.state is None:
        return Verdict("failed", ("the cluster does not know the job",))
    if snapshot.state.is_terminal:
        return Verdict("failed", (judge("running", snapshot, health).words,))
    reasons: list[tuple[State, str]] = []
    if snapshot.state is not JobState.RUNNING or snapshot.tasks_running < snapshot.tasks_total:
        reasons.append(("degraded", f"{snapshot.state.value.lower()}: {judge('running', snapshot, health).words}"))
    reasons += _checkpoints(snapshot, health)
    reasons += _progress(snapshot, health)
    if snapshot.late_dropped:
        # It happened once and can't be mended by the job: told for as long as Flink counts it, and no state of its own.
        words = f"windows have dropped {snapshot.late_dropped:,} rows that came behind the watermark"
        reasons.append(("healthy", words))
    worst: State = next((s for s in ("degraded", "unknown") if any(state == s for state, _ in reasons)), "healthy")
    if worst == "healthy" and _is_quiet(snapshot, health):
        worst = "idle"
        reasons.insert(0, ("idle", "no input"))
    return Verdict(worst, tuple(words for _, words in reasons))


def _checkpoints(snapshot: Snapshot, health: Health) -> list[tuple[State, str]]:
    limit = milliseconds(health.checkpoint_age)
    age = snapshot.running_ms if snapshot.checkpoint_age_ms is None else snapshot.checkpoint_age_ms
    if age <= limit:
        return []
    what = "no checkpoint for" if snapshot.checkpoint_age_ms is None else "the last checkpoint is"
    return [("degraded", f"{what} {seconds(age)}{'' if what.startswith('no') else ' old'} > {seconds(limit)}")]


def _progress(snapshot: Snapshot, health: Health) -> list[tuple[State, str]]:
    lag, watermark = judge("consumer_lag", snapshot, health), judge("watermark", snapshot, health)
    if snapshot.consumer_lag is None:
        return [("unknown", lag.words)]
    reasons: list[tuple[State, str]] = [] if lag.passed else [("degraded", lag.words)]
    if not watermark.passed:
        is_starting = snapshot.running_ms <= milliseconds(health.start_timeout)
        unknown = snapshot.watermark_lag_ms is None and is_starting
        reasons.append(("unknown" if unknown else "degraded", watermark.words))
    return reasons


def _is_quiet(snapshot: Snapshot, health: Health) -> bool:
    lag = snapshot.watermark_lag_ms
    return snapshot.is_idle and (lag is None or lag > milliseconds(health.watermark_lag))
