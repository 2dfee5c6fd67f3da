"""What `/jobs/<id>/plan` answers: the vertices of a job, each with the descriptions of its chained operators."""

from __future__ import annotations

import html

from pydantic import Field

from sluice.flink.models import Answer


class PlanInput(Answer):
    """A vertex that another one reads from."""

    id: str
    num: int = 0


class PlanNode(Answer):
    """A vertex, whose id is that of its first operator."""

    id: str
    description: str = ""
    inputs: tuple[PlanInput, ...] = ()

    @property
    def lines(self) -> tuple[str, ...]:
        """Its operators, a line each, indented below the one that they read from; Flink writes them for a browser."""
        text = html.unescape(self.description).replace("&#92;", "\\")
        return tuple(line for line in text.split("<br/>") if line.strip())


class _Nodes(Answer):
    nodes: tuple[PlanNode, ...] = ()


class JobPlan(Answer):
    """A job's vertices."""

    plan: _Nodes = Field(_Nodes())
