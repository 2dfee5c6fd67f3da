"""Read the metadata of checkpoints and savepoints, by the Java class sluice.client.Checkpoints."""

from __future__ import annotations

from pyflink.java_gateway import get_gateway

from sluice.client.protocol import Find, Found, State


def inspect(path: str) -> State:
    """The operators with state, and the Kafka offsets of the sources.

    Raises:
        Py4JJavaError: the checkpoint is missing, incomplete, or of a version that this Flink can't read.
    """
    return State.model_validate_json(get_gateway().jvm.sluice.client.Checkpoints.inspect(path))


def find(order: Find) -> Found:
    """The complete checkpoint or savepoint with the highest id among the direct children of the directories.

    Raises:
        Py4JJavaError: a directory can't be listed.
    """
    return Found.model_validate_json(get_gateway().jvm.sluice.client.Checkpoints.find(list(order.directories)))
