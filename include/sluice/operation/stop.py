"""Bringing a stop to its end: whatever was lost on the way, it says in the end what the job has left, or that it runs.

Everything here may be done again from the start: the trigger id makes a second request the same request.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from math import inf

from sluice.compiler import Compiler
from sluice.errors import FlinkError, OperationError, TriggerNotFoundError
from sluice.flink import calls
from sluice.flink.client import FlinkClient
from sluice.flink.ending import await_end, cancel, has_ended, job_state, send_to
from sluice.flink.models import JobState, SavepointResult
from sluice.ledger.operation_handle import OperationHandle
from sluice.ledger.tables import Placement
from sluice.ledger.transitions import StopFailed
from sluice.state.after_stop import savepoint_directory, state_after_stop
from sluice.state.directories import Directories

_PAUSE = 0.05
"""Seconds between two looks: a job is down meanwhile."""
_FORMAT = "NATIVE"
"""Written and read as checkpoints are: fastest; Flink restores it at any parallelism."""
_CANCEL_TIMEOUT = 180.0
_FRESH = 30.0
"""Seconds that are at least waited for a fresh checkpoint, where there is one already."""
_FRESH_TIMES = 3
"""How many times as long as the newest one took: another may have to end first."""
_SETTLES = 1.0
"""Seconds until a job whose stop has failed shows it, if it has failed with that."""


class StopFailedError(OperationError):
    """The job could not be stopped as planned; it runs on."""


def record_failed(operation: OperationHandle, error: StopFailedError) -> None:
    """Journal that the job runs on, and let it stand so in the ledger: its trigger is spent."""
    operation.record("stop", "failed", transition=StopFailed(), reason=str(error))


def _otherwise(place: Placement) -> str:
    """What there is beside a savepoint."""
    if place.stop_mode == "stateless":
        # Mode last-state would take the state along that is to be left behind.
        return (
            f"mend the cause and deploy again, or: sluice suspend {place.job} --mode last-state, then "
            f"sluice deploy {place.job} --mode stateless --wake"
        )
    return (
        "deploy again: where the job fails, the plan is then to go on from its newest checkpoint; for any other cause, "
        "mend it, or take mode last-state"
    )


class Stop:
    """The stop of one Flink job.

    Args:
        flink: The cluster.
        compiler: Finds checkpoints where the cluster remembers none.
        directories: Where they lie.
        environment: Whose job it is; part of where its savepoint is put.
        tell: Where progress goes.
    """

    def __init__(
        self,
        flink: FlinkClient,
        compiler: Compiler,
        directories: Directories,
        environment: str,
        tell: Callable[[str], None],
    ) -> None:
        self._flink = flink
        self._compiler = compiler
        self._directories = directories
        self._environment = environment
        self._tell = tell

    def complete(self, place: Placement) -> str | None:
        """Stop the job, or go on with a stop that was begun; the path of what it leaves, None: it had no state.

        Args:
            place: In phase `stopping`.

        Raises:
            StopFailedError: it runs on, with the reason.
            UnreachableError: the cluster doesn't answer; a later attempt goes on.
            OperationError: it is gone, and nothing to start it from is found.
        """
        if place.stop_mode == "cancel":
            cancel(self._flink, place.flink_job_id, _CANCEL_TIMEOUT)
            return place.state_path
        if place.stop_mode == "last-state":
            return self._stop_after_checkpoint(place)
        return self._stop_with_savepoint(place)

    def _stop_with_savepoint(self, place: Placement) -> str | None:
        job, trigger = place.flink_job_id, place.trigger_id or ""
        while True:
            state = job_state(self._flink, job)
            if state is None or state in (JobState.CANCELED, JobState.FAILED):
                return self._left_behind(place)
            if state is not JobState.FINISHED:
                send_to(self._flink, calls.stop(job, trigger, self._savepoints(place), _FORMAT), job)
            result = self._result(job, trigger)
            if result is not None and result.failure:
                if has_ended(self._settled(job)):
                    return self._left_behind(place)
                # Flink lets the job run on, from before or from the savepoint that it then had.
                raise StopFailedError(
                    f"{place.job}: the savepoint failed, the job runs on: {result.failure}",
                    remedy=_otherwise(place),
                )
            if result is not None and result.location:
                await_end(self._flink, job, _CANCEL_TIMEOUT)
                return result.location
            if state is JobState.FINISHED:
                return self._left_behind(place)

    def _settled(self, job: str) -> JobState | None:
        """The job's state once it is clear whether a stop that has failed has ended it: a failure takes its time."""
        began = time.monotonic()
        while True:
            state, waited = job_state(self._flink, job), time.monotonic() - began
            within = _CANCEL_TIMEOUT if state in (JobState.FAILING, JobState.CANCELLING) else _SETTLES
            if has_ended(state) or waited > within:
                return state
            time.sleep(_PAUSE)

    def _result(self, job: str, trigger: str) -> SavepointResult | None:
        """The savepoint's result; None: the JobManager has forgotten it."""
        while True:
            try:
                result = self._flink.send(calls.savepoint_result(job, trigger))
            except TriggerNotFoundError:
                return None
            if result.status.is_done:
                return result
            time.sleep(_PAUSE)

    def _stop_after_checkpoint(self, place: Placement) -> str | None:
        job = place.flink_job_id
        if job_state(self._flink, job) is JobState.RUNNING:
            self._take_checkpoint(job, place.trigger_id or "")
        cancel(self._flink, job, _CANCEL_TIMEOUT)
        return self._left_behind(place)

    def _take_checkpoint(self, job: str, trigger: str) -> None:
        """A fresh checkpoint spares work; without one the newest retained one will do, which is what the mode says."""
        try:
            patience = self._patience(job)
            until = time.monotonic() + patience
            self._flink.send(calls.take_checkpoint(job, trigger))
            while not (result := self._flink.send(calls.checkpoint_result(job, trigger))).status.is_done:
                if time.monotonic() > until:
                    self._tell(f"no fresh checkpoint within {patience:.0f} s")
                    return
                time.sleep(_PAUSE)
        except FlinkError as error:
            self._tell(f"no fresh checkpoint: {error.message}")
            return
        if result.failure:
            self._tell(f"no fresh checkpoint: {result.failure}")

    def _patience(self, job: str) -> float:
        """Seconds for a fresh checkpoint: one that stands still makes none, and Flink gives up after ten minutes.

        Where there is no other one, it is all there is to go on from.
        """
        newest = self._flink.send(calls.checkpoints(job)).latest.completed
        return inf if newest is None else max(_FRESH, _FRESH_TIMES * (newest.end_to_end_duration or 0) / 1000)

    def _left_behind(self, place: Placement) -> str | None:
        return state_after_stop(self._compiler, self._directories, self._environment, place)

    def _savepoints(self, place: Placement) -> str | None:
        return savepoint_directory(self._directories, self._environment, place)
