"""Flink's descriptions of what each operator of a compiled job computes.

They are the descriptions of the StreamGraph, which the Flink UI shows as well, by the operator id under which state is
stored. The planner's node numbers are removed, since a change of any earlier node alters them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from sluice.job.config import secret_settings
from sluice.job.definition import Job

_NODE_NUMBER = re.compile(r"^\[\d+\]:")
"""`[5]:GlobalWindowAggregate(...)`."""
_NUMBERED_NAME = re.compile(r"^([\w$]+)\[\d+\](?=$|: )")
"""`orders__sink[7]: Writer`."""


@dataclass(frozen=True)
class Described:
    """One operator; see `sluice.client.protocol.Operator` for its fields."""

    text: str = ""
    inputs: tuple[str, ...] = ()
    types: tuple[str, ...] = ()


def describe(stream_graph: Any, secrets: Iterable[str] = ()) -> dict[str, Described]:
    """The operators of a StreamGraph by their generated ids.

    Args:
        stream_graph: Flink's StreamGraph, not yet translated to a JobGraph.
        secrets: Texts that are replaced wherever they occur in a description.
    """
    from pyflink.java_gateway import get_gateway  # noqa: PLC0415 - the functions on text work without PyFlink

    jvm = get_gateway().jvm
    hashes = jvm.org.apache.flink.streaming.api.graph.StreamGraphHasherV2().traverseStreamGraphAndGenerateHashes(
        stream_graph
    )
    nodes = list(stream_graph.getStreamNodesSortedTopologicallyFromSources())
    ids = {node.getId(): bytes(hashes.get(node.getId())).hex() for node in nodes}
    longest_first = sorted(filter(None, secrets), key=len, reverse=True)
    return {
        ids[node.getId()]: Described(
            text=plain_text(node.getOperatorDescription() or node.getOperatorName(), longest_first),
            inputs=tuple(ids[edge.getSourceId()] for edge in sorted(node.getInEdges(), key=_input)),
            types=tuple(_types(node)),
        )
        for node in nodes
    }


def plain_text(description: str, secrets: Iterable[str] = ()) -> str:
    """A description without the planner's node numbers and without secrets."""
    text = _NUMBERED_NAME.sub(r"\1", _NODE_NUMBER.sub("", description))
    for secret in secrets:
        text = text.replace(secret, "(secret)")
    return text


def secret_texts(job: Job, config: Mapping[str, Any]) -> list[str]:
    """The texts of a job's secret settings, also as escaped in an SQL literal."""
    found = [text for name in secret_settings(job.config) for text in _texts(config.get(name))]
    return [*found, *(text.replace("'", "''") for text in found if "'" in text)]


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        for inner in value.values():
            yield from _texts(inner)
    elif isinstance(value, list | tuple):
        for inner in value:
            yield from _texts(inner)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _input(edge: Any) -> int:
    number: int = edge.getTypeNumber()
    return number


def _types(node: Any) -> Iterator[str]:
    for serializer in node.getTypeSerializersIn() or ():
        yield _type(serializer)
    if (keys := node.getStateKeySerializer()) is not None:
        yield f"key {_type(keys)}"


def _type(serializer: Any) -> str:
    """The column types of a Table API row serializer; of another serializer, its class name."""
    name: str = serializer.getClass().getSimpleName()
    if name != "RowDataSerializer":
        return name
    from pyflink.util.java_utils import get_field  # noqa: PLC0415

    types = get_field(serializer.getClass(), "types").get(serializer)
    return f"({', '.join(each.asSummaryString() for each in types)})"
