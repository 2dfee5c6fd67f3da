"""Compares a checkpoint's operators with a compiled graph: which state is kept, altered or lost. Pure."""

from __future__ import annotations

from sluice.client.protocol import Graph, State
from sluice.state.change import StateChange, StateOfOperator
from sluice.state.operators import NOT_KNOWN, Operators, compare_operator, operators_of


def compare(state: State | None, graph: Graph) -> StateChange:
    """The operators whose state is kept or dropped, and the new ones.

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
        # Most operators have no state, so new ones are listed only if others are dropped, which they may replace.
        added=tuple(StateOfOperator(id=id_, name=name, size=0) for id_, name in compiled.items() if id_ not in held)
        if any(id_ not in compiled for id_ in held)
        else (),
    )


def compare_operators(change: StateChange, old: Operators, graph: Graph) -> StateChange:
    """The change, with kept state moved to `altered` if its operator computes something else.

    A source's state is its positions, so it is never altered.

    Args:
        change: The change by the operators' ids alone; see `compare`.
        old: The operators of the release that wrote the state; empty: unknown.
        graph: The graph that takes the state.
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
    """The reasons, for a person, about state whose operators or their input have changed."""
    mixed = ", ".join(operator.name for operator in change.input_changed)
    return (
        *(f"{operator.name} {_why_altered(operator)}" for operator in change.altered),
        *((f"the input of {mixed} is filtered or computed in another way: open windows mix both",) if mixed else ()),
    )


def _why_altered(operator: StateOfOperator) -> str:
    if operator.old == NOT_KNOWN:
        return "may compute something else than the operator that wrote its state, which is not known"
    return "computes something else than the operator that wrote its state"


def fates(change: StateChange, *, abandons: bool, alters: bool) -> StateChange:
    """The change, if the mode or a setting decides about the state besides the graph.

    Args:
        change: The change by the graph alone.
        abandons: All state but the sources' positions is abandoned.
        alters: A setting that determines the meaning of state has changed; without `abandons`, the state is kept.
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
    """Whether the old job's only state is its sources' positions and its sinks' open transactions."""
    return all(_is_source(operator) or _is_sink(operator) for operator in change.held)


def _is_sink(operator: StateOfOperator) -> bool:
    return operator.name.endswith((": Writer", ": Committer"))


def _is_source(operator: StateOfOperator) -> bool:
    return operator.name.startswith("Source:")
