"""The operators of a running job whose release doesn't store them, from the cluster's plan of the job. Pure.

The cluster describes vertices, each with its chained operators as an indented list, and gives only the id of each
chain's first operator. The others get theirs from the new graph's vertex with the same id and number of operators.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from sluice.client.protocol import Graph
from sluice.flink.job_plan import PlanNode
from sluice.state.operators import Described

_LINE = re.compile(r"^(?P<indent>(?:[ :]  )*)(?P<branch>[+:]- )?(?:\[\d+\]:)?(?P<text>\S.*)$")
_NUMBERED_NAME = re.compile(r"^([\w$]+)\[\d+\](?=$|: )")
_INDENT = 3
"""The characters by which a line is indented more than the one before it in the chain."""


@dataclass
class _Line:
    """An operator of a chain."""

    text: str
    parent: _Line | None
    children: list[_Line] = field(default_factory=list)
    id: str = ""


def running_operators(nodes: Iterable[PlanNode], graph: Graph) -> dict[str, Described]:
    """The operators of a running job by their ids, as far as these are known; types are unknown.

    Args:
        nodes: The vertices of the job's plan; see `sluice.flink.calls.plan`.
        graph: The graph that would take its state.
    """
    compiled = {vertex.id: [operator.id for operator in vertex.operators] for vertex in graph.vertices}
    chains = {node.id: _chain(node.lines) for node in nodes}
    for id_, lines in chains.items():
        ids = compiled.get(id_, [])
        # The graph lists a chain from its ends to its beginning.
        ordered = list(_ends_first(lines[0])) if lines else []
        for number, line in enumerate(ordered):
            line.id = ids[number] if len(ids) == len(ordered) else f"{id_}/{number}"
        if lines:
            lines[0].id = id_
    inputs = {node.id: [each.id for each in sorted(node.inputs, key=lambda each: each.num)] for node in nodes}
    return {
        line.id: Described(description=line.text, inputs=tuple(_inputs(line, inputs[vertex], chains)))
        for vertex, lines in chains.items()
        for line in lines
    }


def _chain(lines: Iterable[str]) -> list[_Line]:
    """The operators of a vertex, each with the one that it reads from."""
    found: list[tuple[int, _Line]] = []
    for line in lines:
        match = _LINE.match(line)
        if match is None:
            continue
        depth = len(match["indent"]) // _INDENT + bool(match["branch"])
        parent = next((other for level, other in reversed(found) if level < depth), None)
        made = _Line(_NUMBERED_NAME.sub(r"\1", match["text"]), parent)
        if parent is not None:
            parent.children.append(made)
        found.append((depth, made))
    return [line for _, line in found]


def _ends_first(line: _Line) -> Iterator[_Line]:
    for child in line.children:
        yield from _ends_first(child)
    yield line


def _inputs(line: _Line, vertices: Iterable[str], chains: dict[str, list[_Line]]) -> Iterator[str]:
    """The ids of an operator's inputs; unknown if a chain before it has several ends."""
    if line.parent is not None:
        yield line.parent.id
        return
    for vertex in vertices:
        ends = [other for other in chains.get(vertex, []) if not other.children]
        yield ends[0].id if len(ends) == 1 else f"{vertex}/?"
