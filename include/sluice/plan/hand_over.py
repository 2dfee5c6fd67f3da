"""The mode by which a running job hands over, decided by its failures and checkpoints."""

from __future__ import annotations

from dataclasses import dataclass

from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.plan.model import NEWEST_FAILURE, Mode
from sluice.state.situation import Runs


@dataclass(frozen=True)
class HandOver:
    """How a job hands over.

    Attributes:
        mode: The requested mode; for a failing job, `last-state` instead of `savepoint` if that keeps its newest state.
        reasons: Why a savepoint would probably fail, for a person; empty: it would not.
        is_chosen: The mode differs from the requested one.
    """

    mode: Mode
    reasons: tuple[str, ...] = ()
    is_chosen: bool = False


def hand_over_of(flink: FlinkClient, running: Runs, mode: Mode) -> HandOver:
    """How a running job hands over, which may be in a restart loop.

    A savepoint needs all tasks to run until it is complete. A job that has failed since its newest checkpoint fails
    again if the cause is a record that it reads again after each restart. Its sinks have committed nothing since that
    checkpoint, so that a start from it loses and duplicates nothing.

    Args:
        flink: The cluster.
        running: The job.
        mode: The mode if the job doesn't fail: `savepoint` or `stateless`.

    Raises:
        UnreachableError: the cluster doesn't answer.
    """
    job = running.place.flink_job_id
    newest = flink.send(calls.checkpoints(job)).latest.completed
    since = (newest.latest_ack_timestamp or newest.trigger_timestamp) if newest else 0
    failures = [entry for entry in flink.send(calls.exceptions(job)).history.entries if entry.timestamp > since]
    if not failures and running.is_whole:
        return HandOver(mode)
    if failures:
        when = "since its newest checkpoint" if newest else "and has completed no checkpoint"
        why = f"it can't be relied on to write a savepoint, since it has failed {when}"
    else:
        why = "it can't write a savepoint, since not all of its tasks run"
    causes = (f"{NEWEST_FAILURE}{failures[0].words}",) if failures else ()
    if mode == Mode.STATELESS:
        return HandOver(mode, (f"{why}: it is cancelled", *causes))
    has_own = running.place.had_checkpoint or newest is not None
    if has_own and not flink.send(calls.checkpoint_config(job)).is_retained:
        tried = "its checkpoints are deleted when it is cancelled, so a savepoint is tried anyway"
        return HandOver(mode, (f"{why}; {tried}", *causes))
    state = "its newest checkpoint" if has_own else "the state that it was started from"
    words = f"{why}: it is cancelled, and {state} is kept; it has committed nothing since"
    return HandOver(Mode.LAST_STATE, (words, *causes), is_chosen=True)
