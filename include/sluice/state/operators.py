"""Whether an operator of two releases computes the same, so that its state has the same meaning in both. Pure.

State belongs to an operator by its id, which doesn't depend on keys, windows or aggregates, so Flink restores it even
if these have changed. Releases therefore store Flink's description of each operator. Two releases are compared by it:
the operator's own description and the types of its input, then all operators before it, up to the sources. Names of
columns count there, since a projection (`SELECT b AS a`) gives another column the name that a later operator groups by.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict

from sluice.client.protocol import Graph

Likeness = Literal["same", "input changed", "altered"]
"""same: it computes the same from the same.
input changed: a filter, or a function that Flink doesn't describe, has changed before it.
altered: its keys, window, aggregates, their arguments or its types have changed, or can't be compared."""

_SEVERITY: Sequence[Likeness] = ("same", "input changed", "altered")
_CALC = re.compile(r"^(Calc|PythonCalc|AsyncCalc)\(")
_ALIAS = re.compile(r" AS (?:[^\s()]+)$")


class Described(BaseModel):
    """The stored description of one operator; see `sluice.client.protocol.Operator`."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    description: str
    inputs: tuple[str, ...] = ()
    types: tuple[str, ...] | None = None
    """None: unknown."""


Operators = Mapping[str, Described]
"""The operators of one release, by their ids."""


def operators_of(graph: Graph) -> dict[str, Described]:
    """The operators of a compiled graph."""
    return {
        operator.id: Described(description=operator.description, inputs=operator.inputs, types=operator.types)
        for vertex in graph.vertices
        for operator in vertex.operators
    }


def kept_values(graph: Graph) -> dict[str, Any]:
    """The operators of a graph, as the JSON values that a release stores."""
    return {id_: operator.model_dump(mode="json") for id_, operator in operators_of(graph).items()}


def read_values(values: Mapping[str, Any]) -> dict[str, Described]:
    """The operators that a release has stored; see `kept_values`."""
    return {id_: Described.model_validate(value) for id_, value in values.items()}


class Comparison(BaseModel):
    """An operator of two releases.

    Attributes:
        old: What it computes in the release that wrote the state; empty if both are the same.
        new: What it computes in the release that would take the state.
    """

    model_config = ConfigDict(frozen=True)

    likeness: Likeness
    old: str = ""
    new: str = ""


NOT_KNOWN = "not known"
"""The old description of an operator whose writing release is not known."""


def compare_operator(id_: str, old: Operators, new: Operators) -> Comparison:
    """Compare one operator of two releases.

    Args:
        id_: The operator's id, under which its state is stored.
        old: The operators of the release that wrote the state.
        new: The operators of the release that would take it.
    """
    was, becomes = old.get(id_), new[id_]
    if was is None:
        return Comparison(likeness="altered", old=NOT_KNOWN, new=becomes.description)
    if _without_aliases(was.description) != _without_aliases(becomes.description):
        return Comparison(likeness="altered", old=was.description, new=becomes.description)
    if was.types is not None and becomes.types is not None and was.types != becomes.types:
        sides = (f"{each.description} of {', '.join(each.types or ())}" for each in (was, becomes))
        return Comparison(likeness="altered", old=next(sides), new=next(sides))
    likeness, differs = _compare_inputs(was, becomes, old, new)
    if likeness == "same":
        return Comparison(likeness="same")
    before, after = differs
    if likeness == "input changed":
        return Comparison(likeness=likeness, old=before, new=after)
    return Comparison(
        likeness=likeness, old=f"{was.description} after {before}", new=f"{becomes.description} after {after}"
    )


_Differs = tuple[str, str]
"""The two descriptions that differ; if several do, those of the most severe difference."""


def _compare_inputs(was: Described, becomes: Described, old: Operators, new: Operators) -> tuple[Likeness, _Differs]:
    if len(was.inputs) != len(becomes.inputs):
        return "altered", (_words(was.inputs, old), _words(becomes.inputs, new))
    found: tuple[Likeness, _Differs] = ("same", ("", ""))
    for before, after in zip(was.inputs, becomes.inputs, strict=True):
        each = _compare_upstream(old.get(before), new.get(after), old, new)
        if _SEVERITY.index(each[0]) > _SEVERITY.index(found[0]):
            found = each
    return found


def _compare_upstream(
    was: Described | None, becomes: Described | None, old: Operators, new: Operators
) -> tuple[Likeness, _Differs]:
    """Compare two operators before the compared one, with all operators before them."""
    was, filters = _skip_filters(was, old)
    becomes, other_filters = _skip_filters(becomes, new)
    if was is None or becomes is None:
        return "altered", (was.description if was else "not known", becomes.description if becomes else "not known")
    differs = (was.description, becomes.description)
    own: Likeness = "same"
    columns, other_columns = _columns(was.description), _columns(becomes.description)
    if columns is not None and other_columns is not None:
        if any(columns[name] != other_columns[name] for name in columns.keys() & other_columns.keys()):
            return "altered", differs
        if was.description != becomes.description:
            own = "input changed"
    elif was.description != becomes.description:
        if _is_described(was.description) and _is_described(becomes.description):
            return "altered", differs
        # A source, or a function of a DataStream: Flink describes it only by its name.
        own = "input changed"
    if filters != other_filters:
        own = "input changed"
        differs = ("; ".join(filters) or was.description, "; ".join(other_filters) or becomes.description)
    before = _compare_inputs(was, becomes, old, new)
    return before if _SEVERITY.index(before[0]) > _SEVERITY.index(own) else (own, differs)


def _skip_filters(operator: Described | None, known: Operators) -> tuple[Described | None, tuple[str, ...]]:
    """The first operator that isn't a projection which only filters and drops columns, and those that were skipped."""
    filters = []
    while operator is not None and len(operator.inputs) == 1:
        columns = _columns(operator.description)
        if columns is None or any(name != text for name, text in columns.items()):
            break
        filters.append(operator.description)
        operator = known.get(operator.inputs[0])
    return operator, tuple(filters)


def _words(inputs: Sequence[str], known: Operators) -> str:
    return " and ".join(known[each].description if each in known else "not known" for each in inputs) or "no input"


def _is_described(description: str) -> bool:
    """Whether Flink describes an operator by more than its name."""
    return "(" in description


def _columns(description: str) -> dict[str, str] | None:
    """The expression of each column of a projection, without its filter; None: it is no projection."""
    selected = _selected(description) if _CALC.match(description) else None
    if selected is None:
        return None
    columns = {}
    for item in selected[1]:
        text = _ALIAS.sub("", item)
        columns[item[len(text) + len(" AS ") :] if text != item else item] = text
    return columns


def _without_aliases(description: str) -> str:
    """A description without the names of its own results, which don't affect state."""
    selected = _selected(description)
    if selected is None:
        return description
    before, items, after = selected
    return f"{before}{', '.join(_ALIAS.sub('', item) for item in items)}{after}"


def _selected(description: str) -> tuple[str, list[str], str] | None:
    """The items of `select=[...]`, with the text before and after them; None: there is no such part."""
    before, found, text = description.partition("select=[")
    if not found:
        return None
    # The planner writes a window's own properties with an unclosed quote.
    text = text.replace("('w$", "(\0w$")
    items, begin, depth, quoted = [], 0, 0, False
    for at, letter in enumerate(text):
        quoted ^= letter == "'"
        if quoted:
            continue
        if depth == 0 and letter in ",]":
            items.append(text[begin:at].strip().replace("\0", "'"))
            begin = at + 1
        if depth == 0 and letter == "]":
            return before + found, items, text[at:].replace("\0", "'")
        depth += (letter in "([{") - (letter in ")]}")
    return None
