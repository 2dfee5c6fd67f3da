"""Execute `Prepare`, `Start` and `Record`: compile the release, and start it, or record that it runs already."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sluice.ledger.tables import Placement
from sluice.ledger.transitions import RecordRelease
from sluice.ledger.values import Phase
from sluice.operation.context import OperationContext
from sluice.operation.start import Start
from sluice.plan import stages
from sluice.plan.builder import Planned
from sluice.state.latest import state_at_placement


def prepare(context: OperationContext, planned: Planned) -> None:
    """Let the client hold the compiled release, so that its submission takes no time once the job has stopped."""
    graph = context.compiler.prepare(planned.target, carry_over=planned.carry_over).graph
    context.compiler.load()
    context.operation.record("prepare", "ready", graph=graph.digest)


def start_job(context: OperationContext, stage: stages.Start, planned: Planned) -> None:
    """Start the release. Raises the errors of `sluice.operation.start.Start.run`."""
    place = context.project.ledger.placement(context.job)
    path, positions, carry_over = _start_state(context, stage, planned, place)
    if carry_over and not planned.carry_over:
        context.compiler.prepare(planned.target, carry_over=True)
    start = Start(context, confirms_loss=planned.confirms_loss)
    start.run(context.operation.row.release, state_path=path, positions=positions, carry_over=carry_over)


def record_release(context: OperationContext) -> None:
    """Record the running job as the new release, which has the same job graph."""
    operation = context.operation
    release = operation.row.release
    operation.record("record", "recorded", transition=RecordRelease(release))
    context.log(f"recorded as release {release}: it compiles to the job graph that is running")


def _start_state(
    context: OperationContext, stage: stages.Start, planned: Planned, place: Placement | None
) -> tuple[str | None, Mapping[str, Mapping[Any, int]] | None, bool]:
    """The state from which the job starts, its positions, and whether only the positions are used."""
    if place is None:
        return None, None, planned.carry_over
    if stage.source == "group":
        # Its state can't be read.
        return None, context.last_positions(place, planned.target.resolved), True
    path = place.state_path
    if place.phase == Phase.RUNNING:
        path = state_at_placement(context.project, context.flink, context.compiler, place)
    # A job that started without state may have left none: its successor starts at the same positions.
    carry_over = stage.source == "offsets" or (place.carried_over and path is None)
    if carry_over and path is None:
        return place.state_path, place.positions, carry_over
    return path, context.compiler.inspect(path).positions if path else None, carry_over
