"""What becomes of a job's state: a checkpoint's operators against a compiled graph. Pure."""

from __future__ import annotations

from sluice.client.protocol import Graph, State
from sluice.state.change import StateChange, StateOfOperator
from sluice.state.operators import Operators, compare_operator, operators_of


def compare(state: State | None, graph: Graph) -> StateChange:
    """Operators whose state is taken over, is left without an operator, or that are new.

    State belongs to an operator by its id; Flink itself decides by the same rule.
    """
    compiled = {operator.id: operator.name or vertex.name for vertex in graph.vertices for operator in vertex.operators}
    if state is None:
        return StateChange()
    held = {
        operator.id: StateOfOperator(id=operator.id, name=operator.name or operator.id[:8], size=operator.size)
        for operator in state.operators
    }
    return StateChange(
        kept=tuple(operator for id_, operator in held.items() if id_ in compiled),
        dropped=tuple(operator for id_, operator in held.items() if id_ not in compiled),
        # Most operators hold nothing; a new one is told of only beside a dropped one, which it may replace.
        added=tuple(StateOfOperator(id=id_, name=name, size=0) for id_, name in compiled.items() if id_ not in held)
        if any(id_ not in compiled for id_ in held)
        else (),
    )


def hold_against(change: StateChange, old: Operators, graph: Graph) -> StateChange:
    """What becomes of the state that is taken over, by what its operators compute; a source's is its positions.

    Args:
        change: By the operators' ids alone; see `compare`.
        old: The operators of the release that holds the state; empty: nothing is known of them.
        graph: What takes it.
    """
    new = operators_of(graph)
    kept: list[StateOfOperator] = []
    altered: list[StateOfOperator] = []
    for operator in change.kept:
        if _is_source(operator) or _is_sink(operator):
            kept.append(operator)
            continue
        compared = compare_operator(operator.id, old, new)
        differs = {} if compared.likeness == "same" else {"old": compared.old, "new": compared.new}
        (altered if compared.likeness == "altered" else kept).append(operator.model_copy(update=differs))
    return change.model_copy(update={"kept": tuple(kept), "altered": tuple(altered)})


def reasons(change: StateChange) -> tuple[str, ...]:
    """What is to be said of state whose operators compute something else, for a person."""
    mixed = ", ".join(operator.name for operator in change.input_changed)
    return (
        *(f"{operator.name} computes something else than what its state was made by" for operator in change.altered),
        *((f"what {mixed} gets is filtered or computed in another way: open windows mix both",) if mixed else ()),
    )


def fates(change: StateChange, *, abandons: bool, alters: bool) -> StateChange:
    """What becomes of the operators where more is changed than the graph.

    Args:
        change: By the graph alone.
        abandons: All state is left behind but the sources' positions.
        alters: A setting that decides what state means is another one; where nothing is abandoned, it goes on.
    """
    sources = tuple(operator for operator in change.kept if _is_source(operator))
    others = tuple(operator for operator in change.kept if not _is_source(operator))
    if abandons:
        dropped = (*others, *change.altered, *change.dropped)
        return change.model_copy(update={"kept": sources, "altered": (), "dropped": dropped})
    if alters:
        return change.model_copy(update={"kept": sources, "altered": (*others, *change.altered)})
    return change


def is_positions_alone(change: StateChange) -> bool:
    """All that is kept are a source's positions and a sink's open transactions."""
    return all(_is_source(operator) or _is_sink(operator) for operator in change.held)


def _is_sink(operator: StateOfOperator) -> bool:
    return operator.name.endswith((": Writer", ": Committer"))


def _is_source(operator: StateOfOperator) -> bool:
    return operator.name.startswith("Source:")
