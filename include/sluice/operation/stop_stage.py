"""Execute the stage `Stop`: request the stop, complete it, and record the state that the job leaves."""

from __future__ import annotations

import uuid

from sluice.ledger.tables import Placement
from sluice.ledger.transitions import CancelWithoutState, ChangePurpose, RequestStop, Stopped
from sluice.ledger.values import Phase, StopMode
from sluice.operation.context import OperationContext
from sluice.operation.stop import Stop, StopFailedError, record_failed
from sluice.plan import stages
from sluice.plan.builder import Planned
from sluice.state.after_stop import is_savepoint, takes_savepoint
from sluice.state.directories import Directories, directories_at
from sluice.state.state_loss import is_state_given_up


def stop_job(context: OperationContext, stage: stages.Stop, planned: Planned) -> None:
    """Stop the running job, or continue the stop that an earlier attempt has requested.

    Raises:
        StopFailedError: the job keeps running.
        SluiceError: another failure; a later attempt continues from the journal.
    """
    operation, place = context.operation, context.place
    resolved = planned.target.resolved
    gives_up = stage.mode == StopMode.CANCEL and planned.plan.gives_up
    if place.phase == Phase.RUNNING or gives_up:
        context.log(stage.words)
        request = (
            CancelWithoutState(context.last_positions(place, resolved))
            if gives_up
            else _stop_request(context, stage, planned)
        )
        operation.record("stop", "stop", transition=request, flink_job_id=place.flink_job_id, mode=stage.mode)
        place = context.place
    elif place.phase != (phase := _phase(stage)):
        # The stop was requested for another purpose.
        operation.record("stop", "stop", transition=ChangePurpose(phase), flink_job_id=place.flink_job_id)
        place = context.place
    operation.renew_lease()
    try:
        path = complete_stop(context, place)
    except StopFailedError as error:
        record_failed(operation, error)
        raise
    savepoint = path if is_savepoint(place, path) else None
    if savepoint is not None:
        # Record it before the journal says that the job has stopped: a retry would skip this stage then.
        operation.add_savepoint(savepoint, release=place.release, flink_job_id=place.flink_job_id)
    elif path is not None and takes_savepoint(place):
        context.log("the job ended before its savepoint was complete: its newest checkpoint is used instead")
    # Read the positions again: the job may have run on between the request and its cancellation.
    positions = context.last_positions(place, resolved) if path is None and is_state_given_up(place) else None
    operation.record(
        "stop",
        "stopped",
        transition=Stopped(
            Phase.SUSPENDED if stage.suspend else Phase.STOPPED,
            path,
            carried_over=place.carried_over and path is None,
            positions=positions,
        ),
        flink_job_id=place.flink_job_id,
        path=path,
        savepoint=savepoint,
    )
    operation.update(savepoint=savepoint)
    context.log(f"stopped Flink job {place.flink_job_id}: {path or 'it had no state'}")


def complete_stop(context: OperationContext, place: Placement) -> str | None:
    """Complete the stop at a placement. See `sluice.operation.stop.Stop.complete`."""
    directories = directories_at(context.project, context.flink, place)
    stop = Stop(context.flink, context.compiler, directories, context.project.environment, context.log)
    return stop.complete(place)


def _phase(stage: stages.Stop) -> Phase:
    """The phase during the stop: a suspension stays one, also if another process completes it."""
    return Phase.SUSPENDING if stage.suspend else Phase.STOPPING


def _stop_request(context: OperationContext, stage: stages.Stop, planned: Planned) -> RequestStop:
    """The stop to record in the placement before it is requested, so that a later attempt can complete it."""
    trigger, directory = uuid.uuid4().hex, None
    if stage.mode != StopMode.LAST_STATE:
        # Use the new release's directory: a wrong directory may be the reason for this deploy.
        directories = Directories(context.flink, planned.target.resolved["options"])
        directory = directories.savepoints(context.project.environment, context.job, trigger)
    return RequestStop(_phase(stage), stage.mode, trigger, directory)
