"""Compile a pipeline to a JobGraph, describe it, and submit it."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from pathlib import Path
from typing import Any

from pyflink.java_gateway import get_gateway
from pyflink.util.java_utils import get_field

from sluice.client.address import rest_options
from sluice.client.descriptions import Described, describe, secret_texts
from sluice.client.failure import repeat_for_reason
from sluice.client.generated_code import normalise_generated_code
from sluice.client.pipeline import Pipeline
from sluice.client.protocol import RELEASE, Build, Graph, Operator, Submit, Vertex
from sluice.client.stores import tls_options
from sluice.errors import FlinkError


class PreparedJob:
    """A compiled job, and a client of the cluster that will run it.

    Args:
        pipeline: The job's tables and inserts.
        order: The order to build the job.
    """

    def __init__(self, pipeline: Pipeline, order: Build) -> None:
        self._jvm = get_gateway().jvm
        self._order = order
        self._name = order.part.name if order.part else pipeline.job.name
        self._columns = pipeline.columns
        self._described: dict[str, Described] = {}
        self._job_graph = self._compile(pipeline, order.jars)
        self._client = self._connect(order)

    def warm(self) -> None:
        """Send a request to the cluster, so that the submission can use the open connection.

        Raises:
            Py4JJavaError: the cluster doesn't answer.
        """
        repeat_for_reason(lambda: self._client.listJobs().get())

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
        return Graph(vertices=tuple(vertices), slots=sum(slots.values()), columns=self._columns, digest=self._digest())

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

    def submit(self, order: Submit) -> str:
        """Submit with the given Flink job id and savepoint; returns the id that the cluster answered.

        Raises:
            FlinkError: the cluster answered with another id.
            Py4JJavaError: the cluster refused, or doesn't answer.
        """
        jvm = self._jvm
        self._job_graph.setJobID(jvm.org.apache.flink.api.common.JobID.fromHexString(order.flink_job_id))
        if order.release is not None:
            self._name_release(order.release)
        restore = jvm.org.apache.flink.runtime.jobgraph.SavepointRestoreSettings
        if order.savepoint:
            settings = restore.forPath(order.savepoint, order.allow_non_restored_state)
            self._job_graph.setSavepointRestoreSettings(settings)
        answered: str = self._client.submitJob(self._job_graph).get().toString()
        if answered != order.flink_job_id:
            raise FlinkError(f"{self._name}: submitted as {order.flink_job_id}, the cluster answered {answered}")
        return answered

    def _name_release(self, number: int) -> None:
        """Add the release to the global job parameters, which the REST API returns; the graph stays the same."""
        jvm, graph = self._jvm, self._job_graph
        loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
        config = graph.getSerializedExecutionConfig().deserializeValue(loader)
        # Copied into a new map, since the one of the parameters is immutable.
        parameters = jvm.java.util.HashMap(config.getGlobalJobParameters().toMap())
        parameters.put(RELEASE, str(number))
        config.setGlobalJobParameters(jvm.org.apache.flink.configuration.Configuration.fromMap(parameters))
        graph.setExecutionConfig(config)

    def _compile(self, pipeline: Pipeline, jars: tuple[str, ...]) -> Any:
        """Translate the inserts and generate the JobGraph, as an execution would, without running it."""
        jvm = self._jvm
        j_tenv = pipeline.t_env._j_tenv
        operations = pipeline.statements._j_statement_set.getOperations()
        transformations = j_tenv.getPlanner().translate(operations)
        executor = get_field(j_tenv.getClass(), "execEnv").get(j_tenv)
        stream_graph = executor.createPipeline(transformations, j_tenv.getConfig().getConfiguration(), self._name)
        self._described = describe(stream_graph, secret_texts(pipeline.job, self._order.config))
        loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
        job_graph = stream_graph.getJobGraph(loader)
        for jar in jars:
            job_graph.addJar(jvm.org.apache.flink.core.fs.Path(jar))
        return job_graph

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

    def _connect(self, order: Build) -> Any:
        jvm = self._jvm
        configuration = jvm.org.apache.flink.configuration.Configuration()
        # Few retries here: the operation itself retries, and knows from the journal what was done before.
        configuration.setString("rest.retry.max-attempts", "3")
        cluster = jvm.org.apache.flink.client.deployment.StandaloneClusterId.getInstance()
        with tls_options(order.flink_url, order.flink_tls) as options:
            for name, value in {**rest_options(order.flink_url), **options}.items():
                configuration.setString(name, value)
            return jvm.org.apache.flink.client.program.rest.RestClusterClient(configuration, cluster)
