"""The answer of `/jobs/<id>/plan`: the vertices of a job with the descriptions of their chained operators."""

from __future__ import annotations

import html

from pydantic import Field

from sluice.flink.models import Answer


class PlanInput(Answer):
    """An input of a vertex: the id of the vertex that it reads from."""

    id: str
    num: int = 0


class PlanNode(Answer):
    """A vertex, whose id is that of its first operator."""

    id: str
    description: str = ""
    inputs: tuple[PlanInput, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """One line per operator, indented below the operator that it reads from, decoded from Flink's HTML."""
        text = html.unescape(self.description).replace("&#92;", "\\")
        return tuple(line for line in text.split("<br/>") if line.strip())


class _Nodes(Answer):
    nodes: tuple[PlanNode, ...] = ()


class JobPlan(Answer):
    """A job's vertices."""

    plan: _Nodes = Field(_Nodes())
