"""Compile a pipeline to a JobGraph, and describe it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pyflink.java_gateway import get_gateway
from pyflink.util.java_utils import get_field

from sluice.client.address import rest_options
from sluice.client.descriptions import Described, describe, secret_texts
from sluice.client.generated_code import normalise_generated_code
from sluice.client.pipeline import Pipeline
from sluice.client.protocol import Build, Graph, Operator, Vertex
from sluice.client.stores import tls_options
from sluice.client.submission import Submission


class PreparedJob(Submission):
    """A job that this process has compiled, and a client of the cluster that will run it.

    Args:
        pipeline: The job's tables and inserts.
        order: The order to build the job.
    """

    def __init__(self, pipeline: Pipeline, order: Build) -> None:
        self._order = order
        self._columns, self._extra_sinks = pipeline.columns, pipeline.extra_sinks
        name = order.part.name if order.part else pipeline.job.name
        job_graph, self._described = _compile(pipeline, order)
        super().__init__(name, job_graph)
        with tls_options(order.flink_url, order.flink_tls) as options:
            self.connect({**rest_options(order.flink_url), **options})

    def facts(self) -> Graph:
        """The compiled graph: vertices, operators with their ids and descriptions, slots, and the digest."""
        slots: dict[str, int] = defaultdict(int)
        vertices = []
        for vertex in self._job_graph.getVerticesAsArray():
            group = str(vertex.getSlotSharingGroup().getSlotSharingGroupId())
            slots[group] = max(slots[group], vertex.getParallelism())
            vertices.append(
                Vertex(
                    id=vertex.getID().toString(),
                    name=vertex.getName(),
                    parallelism=vertex.getParallelism(),
                    max_parallelism=vertex.getMaxParallelism(),
                    operators=tuple(self._operator(pair) for pair in vertex.getOperatorIDs()),
                )
            )
        return Graph(
            vertices=tuple(vertices),
            slots=sum(slots.values()),
            columns=self._columns,
            digest=self._digest(),
            extra_sinks=self._extra_sinks,
        )

    def _digest(self) -> str:
        """A digest of what the cluster would run: vertices with their operators' configurations, options, jars.

        It is equal in every process for the same job. Python operators refer to functions by name, with the code in
        separate files: for graphs that have some, the artifact's digest is included.
        """
        total = hashlib.sha256()

        def add(*parts: Any) -> None:
            for part in parts:
                content = (
                    normalise_generated_code(bytes(part)) if isinstance(part, bytes | bytearray) else str(part).encode()
                )
                total.update(f"{len(content)}\0".encode() + content)

        has_python = False
        for vertex in self._job_graph.getVerticesAsArray():
            add(vertex.getID().toString(), vertex.getName(), vertex.getParallelism(), vertex.getMaxParallelism())
            configuration = vertex.getConfiguration()
            values = get_field(configuration.getClass(), "confData").get(configuration)
            for name in sorted(values.keySet()):
                value = values.get(name)
                add(name, value)
                has_python |= isinstance(value, bytes | bytearray) and b".operators.python." in value
        add(*(f"{name}={value}" for name, value in sorted(self._order.options.items())), *self._order.jars)
        if has_python:
            add(Path(self._order.code).stem)
        return total.hexdigest()

    def _operator(self, pair: Any) -> Operator:
        defined = pair.getUserDefinedOperatorID()
        generated = pair.getGeneratedOperatorID()
        known = self._described.get(generated.toString(), Described())
        return Operator(
            id=(defined.get() if defined.isPresent() else generated).toString(),
            uid=pair.getUserDefinedOperatorUid(),
            name=pair.getUserDefinedOperatorName(),
            description=known.text,
            inputs=known.inputs,
            types=known.types,
        )


def _compile(pipeline: Pipeline, order: Build) -> tuple[Any, Mapping[str, Described]]:
    """Translate the inserts and generate the JobGraph, as an execution would, without running it.

    Returns:
        The JobGraph, and the descriptions of its operators by their ids.
    """
    jvm = get_gateway().jvm
    j_env = pipeline.env._j_stream_execution_environment
    if pipeline.streams:
        # All inserts and streams together, so that what they share is one operator also after Python's are chained.
        pipeline.statements._j_statement_set.attachAsDataStream()
        jvm.org.apache.flink.python.util.PythonConfigUtil.configPythonOperator(j_env)
        stream_graph = j_env.getStreamGraph()
    else:
        j_env.capture()
        pipeline.statements._j_statement_set.execute()
        stream_graph = j_env.captured()
    described = describe(stream_graph, secret_texts(pipeline.job, order.config))
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    job_graph = stream_graph.getJobGraph(loader)
    for jar in order.jars:
        job_graph.addJar(jvm.org.apache.flink.core.fs.Path(jar))
    return job_graph, described
