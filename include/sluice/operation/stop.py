"""Complete a stop, also after a crash: return the path of the job's state, or raise that the job is still running.

Everything here may be repeated: with the same trigger id, Flink takes a second request as the first one.
"""

from __future__ import annotations

from collections.abc import Callable
from math import inf

from sluice.errors import FlinkError, OperationError, TriggerNotFoundError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import await_end, cancel, has_ended, job_state, send_to
from sluice.flink.models import JobState, SavepointResult
from sluice.ledger.operation_handle import OperationHandle
from sluice.ledger.tables import Placement
from sluice.ledger.transitions import StopFailed
from sluice.ledger.values import StopMode
from sluice.release.compiler import Compiler
from sluice.state.after_stop import savepoint_directory, state_after_stop
from sluice.state.directories import Directories

_PAUSE = 0.05
"""Seconds between two requests. Short, since the job is down while Sluice waits."""
_FORMAT = "NATIVE"
"""The format of checkpoints: the fastest to write and read, and Flink restores it at any parallelism."""
_CANCEL_TIMEOUT = 180.0
_FRESH = 30.0
"""The minimum in seconds to wait for a fresh checkpoint, if the job has completed one before."""
_FRESH_TIMES = 3
"""The wait as a multiple of the newest checkpoint's duration: another checkpoint may have to end first."""
_SETTLES = 1.0
"""Seconds until Flink reports the failure of a job that failed together with its stop."""


class StopFailedError(OperationError):
    """The job could not be stopped as planned, and keeps running."""


def record_failed(operation: OperationHandle, error: StopFailedError) -> None:
    """Journal that the job keeps running, and set its placement to running: the trigger id is used."""
    operation.record("stop", "failed", transition=StopFailed(), reason=str(error))


def _otherwise(place: Placement) -> str:
    """The remedy for a savepoint that failed."""
    if place.stop_mode == StopMode.STATELESS:
        # Mode last-state would keep the state, which this mode drops.
        return (
            f"fix the cause and deploy again, or: sluice suspend {place.job} --mode last-state, then "
            f"sluice deploy {place.job} --mode stateless --wake"
        )
    return (
        "deploy again: if the job is failing, the plan then uses its newest checkpoint; otherwise fix the cause, or "
        "use mode last-state"
    )


class Stop:
    """Stops one Flink job.

    Args:
        flink: The cluster.
        compiler: Finds checkpoints that the cluster no longer knows.
        directories: The directories of checkpoints and savepoints.
        environment: The environment of the job; part of its savepoint's path.
        log: Receives progress.
    """

    def __init__(
        self,
        flink: FlinkClient,
        compiler: Compiler,
        directories: Directories,
        environment: str,
        log: Callable[[str], None],
    ) -> None:
        self._flink = flink
        self._compiler = compiler
        self._directories = directories
        self._environment = environment
        self._log = log

    def complete(self, place: Placement) -> str | None:
        """Stop the job, or continue a stop that was requested; the path of its state, None: it had no state.

        Args:
            place: The placement, in phase `stopping` or `suspending`.

        Raises:
            StopFailedError: the job keeps running, with the reason.
            UnreachableError: the cluster doesn't answer; a later attempt continues.
            OperationError: the job has ended, and no savepoint or checkpoint of it is found.
        """
        if place.stop_mode == StopMode.CANCEL:
            cancel(self._flink, place.flink_job_id, _CANCEL_TIMEOUT)
            return place.state_path
        if place.stop_mode == StopMode.LAST_STATE:
            return self._stop_after_checkpoint(place)
        return self._stop_with_savepoint(place)

    def _stop_with_savepoint(self, place: Placement) -> str | None:
        job, trigger = place.flink_job_id, place.trigger_id or ""
        while True:
            state = job_state(self._flink, job)
            if state is None or state in (JobState.CANCELED, JobState.FAILED):
                return self._state_after_stop(place)
            if state is not JobState.FINISHED:
                send_to(self._flink, calls.stop(job, trigger, self._savepoints(place), _FORMAT), job)
            result = self._result(job, trigger)
            if result is not None and result.failure:
                if has_ended(self._state_after_failure(job)):
                    return self._state_after_stop(place)
                # Flink keeps the job running, or restarts it from the savepoint if that was complete.
                raise StopFailedError(
                    f"{place.job}: the savepoint failed, the job runs on: {result.failure}",
                    remedy=_otherwise(place),
                )
            if result is not None and result.location:
                await_end(self._flink, job, _CANCEL_TIMEOUT)
                return result.location
            if state is JobState.FINISHED:
                return self._state_after_stop(place)

    def _state_after_failure(self, job: str) -> JobState | None:
        """The job's state after a failed stop, once it has ended or has had the time to: a job fails with a delay."""
        began = self._flink.clock.monotonic()
        while True:
            state, waited = job_state(self._flink, job), self._flink.clock.monotonic() - began
            within = _CANCEL_TIMEOUT if state in (JobState.FAILING, JobState.CANCELLING) else _SETTLES
            if has_ended(state) or waited > within:
                return state
            self._flink.clock.sleep(_PAUSE)

    def _result(self, job: str, trigger: str) -> SavepointResult | None:
        """The savepoint's result; None: the JobManager no longer knows it."""
        while True:
            try:
                result = self._flink.send(calls.savepoint_result(job, trigger))
            except TriggerNotFoundError:
                return None
            if result.status.is_done:
                return result
            self._flink.clock.sleep(_PAUSE)

    def _stop_after_checkpoint(self, place: Placement) -> str | None:
        job = place.flink_job_id
        if job_state(self._flink, job) is JobState.RUNNING:
            self._take_checkpoint(job, place.trigger_id or "")
        cancel(self._flink, job, _CANCEL_TIMEOUT)
        return self._state_after_stop(place)

    def _take_checkpoint(self, job: str, trigger: str) -> None:
        """Take a checkpoint, so that less is read again. If it fails, mode last-state uses the newest retained one."""
        try:
            timeout = self._checkpoint_timeout(job)
            until = self._flink.clock.monotonic() + timeout
            self._flink.send(calls.take_checkpoint(job, trigger))
            while not (result := self._flink.send(calls.checkpoint_result(job, trigger))).status.is_done:
                if self._flink.clock.monotonic() > until:
                    self._log(f"no fresh checkpoint within {timeout:.0f} s")
                    return
                self._flink.clock.sleep(_PAUSE)
        except FlinkError as error:
            self._log(f"no fresh checkpoint: {error.message}")
            return
        if result.failure:
            self._log(f"no fresh checkpoint: {result.failure}")

    def _checkpoint_timeout(self, job: str) -> float:
        """Seconds to wait for a new checkpoint: less than Flink's ten minutes, since a stuck job completes none.

        Infinite if the job has completed no checkpoint yet: without one, nothing of its state would be left.
        """
        newest = self._flink.send(calls.checkpoints(job)).latest.completed
        return inf if newest is None else max(_FRESH, _FRESH_TIMES * (newest.end_to_end_duration or 0) / 1000)

    def _state_after_stop(self, place: Placement) -> str | None:
        return state_after_stop(self._compiler, self._directories, self._environment, place)

    def _savepoints(self, place: Placement) -> str | None:
        return savepoint_directory(self._directories, self._environment, place)
