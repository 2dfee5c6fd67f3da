"""How a rollback cancels the new job, and so from which state the former release continues."""

from __future__ import annotations

import uuid
from collections.abc import Callable

from sluice.client.protocol import Graph
from sluice.errors import FlinkError, OperationError
from sluice.flink import calls
from sluice.ledger.checkpoint_origin import origin
from sluice.ledger.tables import Placement, Release
from sluice.ledger.transitions import Cancel
from sluice.ledger.values import Phase
from sluice.operation.context import OperationContext
from sluice.plan.changes import compare_values
from sluice.plan.model import Category
from sluice.plan.target import meanings
from sluice.state.compatibility import compare, compare_operators
from sluice.state.latest import retry_checkpoint_read, state_at_placement
from sluice.state.operators import read_values

NO_LOSS = "no record is lost or written twice"
NOTHING_EMITTED = f"The new release emitted nothing: {NO_LOSS}"
WITHOUT_STATE = (
    "Its state was abandoned before: it started without state, from the consumer group's offsets at that time"
)
_TWICE = "any output since then stays in the topics and is written again"


def found_unproven(context: OperationContext, place: Placement) -> bool:
    """Whether an earlier operation started the release and crashed at its gates, and this one found it failing."""
    row = context.operation.row
    return (
        place.phase == Phase.RUNNING
        and place.release == row.release
        and row.former_release not in (None, row.release)
        and context.operation.entry("record", "recorded") is None
        and context.operation.entry("start", "submit") is None
    )


def choose_cancel(context: OperationContext, place: Placement, former: Release, graph: Graph) -> tuple[Cancel, str]:
    """How the new job is cancelled, and what the rollback means for the output.

    Args:
        context: The context of the operation.
        place: The placement of the new job.
        former: The former release.
        graph: Its compiled graph.

    Raises:
        OperationError: the former release can use no state of the job, which is left as it is.
    """
    return _Choice(context, former, graph).choose(place)


def newest_state(context: OperationContext, place: Placement) -> str | None:
    """The newest state of the job at a placement. See `sluice.state.latest.state_at_placement`."""
    return state_at_placement(context.project, context.flink, context.compiler, place)


def at_least_once(context: OperationContext, release: Release) -> list[str]:
    """The sinks of a release of this operation that may write a record more than once.

    Those that the pipeline adds itself are among them: their guarantees aren't known.
    """
    declared = [name for name, sink in release.resolved["writes"].items() if sink["delivery"] != "exactly-once"]
    row = context.operation.row
    return declared + list((row.plan or {}).get("extra_sinks", ()) if row.release == release.number else ())


class _Choice:
    def __init__(self, context: OperationContext, former: Release, graph: Graph) -> None:
        self._context = context
        self._former = former
        self._graph = graph

    def choose(self, place: Placement) -> tuple[Cancel, str]:
        context, former = self._context, self._former
        runs = context.project.ledger.release(place.job, place.release)
        hands_over = found_unproven(context, place) and not place.carried_over
        is_other = self._is_other(runs) or (
            hands_over and self._computes_other(runs, lambda: newest_state(context, place))
        )
        if hands_over and not is_other and self._takes_newest(place):
            # It may have run for long, and its output stays: so the former release continues from its newest state.
            words = f"It continues from the newest checkpoint of release {runs.number}: {NO_LOSS}"
            return Cancel(by_checkpoint=uuid.uuid4().hex), words
        if self._is_known_to(place) and self._takes(place.state_path):
            words = self._meaning(place)
            if hands_over:
                words = f"Release {former.number} can't use the newest state of release {runs.number}. {words}"
            # From now on the former release is the target, also for another process that continues the operation.
            return Cancel(release=former.number), words
        raise OperationError(
            f"release {former.number} can't use the state in {place.state_path}: the job is left as it is",
            remedy="fix the cause and deploy again, or roll back with mode stateless",
        )

    def _is_other(self, release: Release) -> bool:
        """Whether the former release interprets the state of a release differently."""
        project, former = self._context.project, self._former
        altered = {**meanings(project, release), **meanings(project, former)}
        changes = compare_values(release.resolved, former.resolved, altered)
        return any(change.category == Category.STATE_BREAKING for change in changes)

    def _computes_other(self, release: Release, path: Callable[[], str | None]) -> bool:
        """Whether a stateful operator computes something else in the former release. False if that isn't known."""
        if not release.operators:
            return False
        inspect, graph = self._context.compiler.inspect, self._graph
        state = retry_checkpoint_read(lambda: inspect(found) if (found := path()) else None)
        return bool(compare_operators(compare(state, graph), read_values(release.operators), graph).altered)

    def _is_known_to(self, place: Placement) -> bool:
        """Whether the former release interprets the state from which the running job started as its writer did.

        Its writer may be the running release, before the cluster lost its job, or an unverified one between the two.
        """
        if place.state_path is None:
            return True
        ledger = self._context.project.ledger
        writer = ledger.release(place.job, origin(ledger, place.job, place.state_path) or place.release)
        if writer.number == self._former.number:
            return True
        return not (self._is_other(writer) or self._computes_other(writer, lambda: place.state_path))

    def _takes_newest(self, place: Placement) -> bool:
        return retry_checkpoint_read(lambda: self._takes(newest_state(self._context, place)))

    def _takes(self, path: str | None) -> bool:
        """Whether the former release's graph has every operator that has state."""
        return path is None or not compare(self._context.compiler.inspect(path), self._graph).dropped

    def _meaning(self, place: Placement) -> str:
        """What the new release has written, by its number of checkpoints and the delivery guarantee of its sinks."""
        release = self._context.project.ledger.release(place.job, place.release)
        weak = at_least_once(self._context, release)
        try:
            completed = self._context.flink.send(calls.checkpoints(place.flink_job_id)).counts.completed
        except FlinkError:
            completed = None
        if place.carried_over and place.state_path is None:
            return WITHOUT_STATE if completed == 0 and not weak else f"{WITHOUT_STATE}; {_TWICE}"
        if completed == 0 and not weak:
            return f"Release {release.number} completed no checkpoint, so it emitted nothing: {NO_LOSS}"
        if completed == 0:
            output = f"output of release {release.number} to {', '.join(weak)}"
            return f"The {output} (at-least-once) is duplicated; nothing is lost"
        count = "an unknown number of checkpoints" if completed is None else f"{completed} checkpoints"
        count = "1 checkpoint" if completed == 1 else count
        return (
            f"Release {release.number} completed {count}: its output since the savepoint stays in the topics, and "
            f"release {self._former.number} writes it again; nothing is lost"
        )
