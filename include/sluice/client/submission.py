"""A compiled graph and a client of the cluster: submit it. Needs PyFlink's gateway, and nothing of the job.

The work is done by the Java class sluice.client.Submission.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from py4j.java_gateway import get_field
from pyflink.java_gateway import get_gateway

from sluice.client.protocol import Submit
from sluice.errors import FlinkError


class Submission:
    """A graph that is ready to be submitted.

    Args:
        name: The job's name, for messages.
        job_graph: The JobGraph.

    Raises:
        Py4JJavaError: a file or a class that the graph needs is missing.
    """

    def __init__(self, name: str, job_graph: Any) -> None:
        self._jvm = get_gateway().jvm
        self._name = name
        self._job_graph = job_graph
        self._submission = self._jvm.sluice.client.Submission(job_graph)

    def connect(self, options: Mapping[str, str]) -> None:
        """Make a client of the cluster.

        Args:
            options: The options of Flink's REST client. Files that they name are read now.

        Raises:
            Py4JJavaError: an option is wrong.
        """
        self._submission.connect(dict(options))

    def warm(self) -> None:
        """Send a request to the cluster, so that the submission can use the open connection.

        Raises:
            Py4JJavaError: the cluster doesn't answer.
        """
        self._submission.warm()

    def content(self) -> str:
        """The graph, serialized by Java, in base64; see `deserialize`."""
        content: str = self._jvm.sluice.client.Submission.serialize(self._job_graph)
        return content

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
        answered: str = self._submission.submit(
            order.flink_job_id, order.savepoint, order.allow_non_restored_state, order.release
        )
        if answered != order.flink_job_id:
            raise FlinkError(f"{self._name}: submitted as {order.flink_job_id}, the cluster answered {answered}")
        return answered


def deserialize(content: str) -> Any:
    """The JobGraph of `Submission.content`.

    Raises:
        Py4JJavaError: the content isn't a JobGraph of this version of Flink.
    """
    return get_gateway().jvm.sluice.client.Submission.deserialize(content)
