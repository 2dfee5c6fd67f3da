"""A compiled graph and a client of the cluster: submit it. Needs PyFlink's gateway, and nothing of the job."""

from __future__ import annotations

import base64
from typing import Any

from py4j.java_gateway import get_field
from pyflink.java_gateway import get_gateway

from sluice.client.address import rest_options
from sluice.client.failure import repeat_for_reason
from sluice.client.protocol import RELEASE, Build, Load, Submit
from sluice.client.stores import tls_options
from sluice.errors import FlinkError


class Submission:
    """A graph that is ready to be submitted.

    Args:
        name: The job's name, for messages.
        job_graph: The JobGraph.
        client: A client of the cluster; see `connect`.
    """

    def __init__(self, name: str, job_graph: Any, client: Any) -> None:
        self._jvm = get_gateway().jvm
        self._name = name
        self._job_graph = job_graph
        self._client = client

    def warm(self) -> None:
        """Send a request to the cluster, so that the submission can use the open connection.

        Raises:
            Py4JJavaError: the cluster doesn't answer.
        """
        repeat_for_reason(lambda: self._client.listJobs().get())

    def content(self) -> str:
        """The graph, serialized by Java, in base64; see `deserialize`."""
        content = self._jvm.org.apache.flink.util.InstantiationUtil.serializeObject(self._job_graph)
        return base64.b64encode(bytes(content)).decode()

    def uploaded_files(self) -> tuple[str, ...]:
        """The files of this machine that a submission uploads: jars, and what Python workers need."""
        path = self._jvm.org.apache.flink.core.fs.Path
        paths = [
            *self._job_graph.getUserJars(),
            *(path(get_field(each, "filePath")) for each in self._job_graph.getUserArtifacts().values()),
        ]
        uris = [each.toUri() for each in paths]
        return tuple(sorted({uri.getPath() for uri in uris if uri.getScheme() in (None, "file")}))

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


def deserialize(content: str) -> Any:
    """The JobGraph of `Submission.content`.

    Raises:
        Py4JJavaError: the content isn't a JobGraph of this version of Flink.
    """
    jvm = get_gateway().jvm
    loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
    return jvm.org.apache.flink.util.InstantiationUtil.deserializeObject(base64.b64decode(content), loader)


def connect(order: Build | Load) -> Any:
    """A client of the order's cluster.

    Raises:
        ConfigError, UnreachableError: see `sluice.client.stores.tls_options`.
    """
    jvm = get_gateway().jvm
    configuration = jvm.org.apache.flink.configuration.Configuration()
    # Few retries here: the operation itself retries, and knows from the journal what was done before.
    configuration.setString("rest.retry.max-attempts", "3")
    cluster = jvm.org.apache.flink.client.deployment.StandaloneClusterId.getInstance()
    with tls_options(order.flink_url, order.flink_tls) as options:
        for name, value in {**rest_options(order.flink_url), **options}.items():
            configuration.setString(name, value)
        return jvm.org.apache.flink.client.program.rest.RestClusterClient(configuration, cluster)
