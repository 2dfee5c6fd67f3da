"""The steps of a rollback: end the job that runs, and start a release from the state that it leaves."""

from __future__ import annotations

from sluice.client.protocol import Graph
from sluice.flink.ending import job_state
from sluice.ledger.tables import Placement, Release
from sluice.ledger.transitions import Stopped
from sluice.ledger.values import Phase
from sluice.operation.context import OperationContext
from sluice.operation.roll_back_state import NOTHING_EMITTED, WITHOUT_STATE, choose_cancel, newest_state
from sluice.operation.start import Start
from sluice.operation.stop_stage import complete_stop
from sluice.release.target import release_target
from sluice.state.locate import refuse_elsewhere
from sluice.state.state_loss import is_state_given_up


def refuse_unknown_end(context: OperationContext, place: Placement) -> None:
    """Refuse to go on if the cluster does not know the job, and the job may run on another one.

    Raises:
        RefusedError, UnreachableError: see `sluice.state.locate.refuse_elsewhere`.
    """
    if job_state(context.flink, place.flink_job_id) is None:
        refuse_elsewhere(context.project, context.flink, place)


def end_running(context: OperationContext, place: Placement, former: Release, graph: Graph) -> str:
    """Cancel the new job, or complete an unfinished stop of the old one; what the rollback means for the output.

    Args:
        context: The context of the operation.
        place: The placement of the job.
        former: The former release.
        graph: Its compiled graph.

    Raises:
        OperationError: the former release can use no state of the job, which is left as it is.
        StopFailedError: the old job keeps running.
    """
    operation = context.operation
    if place.phase == Phase.RUNNING and place.flink_job_id != _back_id(context):
        cancel, meant = choose_cancel(context, place, former, graph)
        operation.record("back", "begin", meant=meant)
        operation.record("back", "cancel", transition=cancel, flink_job_id=place.flink_job_id)
    elif operation.entry("back", "begin") is None:
        is_without = place.carried_over and place.state_path is None
        operation.record("back", "begin", meant=WITHOUT_STATE if is_without else NOTHING_EMITTED)
    place = context.place
    operation.renew_lease()
    if place.phase == Phase.STOPPING:
        base = complete_stop(context, place)
        positions = None
        if base is None and is_state_given_up(place) and operation.entry("back", "cancel") is None:
            # The stop of the old job was requested, and the job may have committed offsets since then.
            positions = context.last_positions(place, former.resolved)
        stopped = Stopped(Phase.STOPPED, base, positions=positions, release=former.number)
        operation.record("back", "stopped", transition=stopped, path=base)
    return str((operation.entry("back", "begin") or {}).get("meant", NOTHING_EMITTED))


def start_release(context: OperationContext, release: Release) -> str:
    """Start a release, or adopt the job that an earlier attempt has submitted; the Flink job id."""
    operation, compiler, place = context.operation, context.compiler, context.place
    start = Start(context)
    path = place.state_path
    if place.phase == Phase.RUNNING:
        if start.has(place):
            return place.flink_job_id
        path = newest_state(context, place)
    # Positions without a state: the cancelled job was started without state, and so is this one.
    carry_over = path is None and place.positions is not None
    positions = compiler.inspect(path).positions if path else place.positions
    if carry_over:
        compiler.prepare(release_target(release), carry_over=True)
    flink_job_id = start.run(release.number, state_path=path, positions=positions, carry_over=carry_over)
    operation.record("back", "started", flink_job_id=flink_job_id)
    operation.update(flink_job_id=flink_job_id, restored_from=path)
    return flink_job_id


def _back_id(context: OperationContext) -> str | None:
    """The Flink job id with which this operation submitted the former release, or was about to; None: neither."""
    operation = context.operation
    entry = operation.entry("start", "submit")
    is_back = entry is not None and entry["release"] == operation.row.former_release
    return entry["flink_job_id"] if entry and is_back and operation.entry("back", "begin") else None
