"""Read the metadata of checkpoints and savepoints with Flink's own code, from any file system that Flink supports."""

from __future__ import annotations

import functools
import struct
from collections import defaultdict
from collections.abc import Iterator
from typing import Any

from pyflink.java_gateway import get_gateway

from sluice.client.protocol import Find, Found, OperatorState, State

_METADATA = "_metadata"
_SPLITS = "SourceReaderState"
"""Flink's name of the state in which a source reader keeps its splits."""


def inspect(path: str) -> State:
    """The operators with state, and the Kafka offsets of the sources.

    Raises:
        Py4JJavaError: the checkpoint is missing, incomplete, or of a version that this Flink can't read.
    """
    metadata = _load(path)
    operators = []
    positions: dict[str, dict[int, int]] = defaultdict(dict)
    for operator in metadata.getOperatorStates().toArray():
        if not _has_state(operator):
            continue
        operators.append(
            OperatorState(
                id=operator.getOperatorID().toHexString(),
                name=operator.getOperatorName().orElse(None),
                parallelism=operator.getParallelism(),
                max_parallelism=operator.getMaxParallelism(),
                size=operator.getStateSize(),
            )
        )
        for topic, partition, offset in _positions(operator):
            # If several sources read a partition, take the smallest offset.
            known = positions[topic].get(partition, offset)
            positions[topic][partition] = min(known, offset)
    return State(checkpoint_id=metadata.getCheckpointId(), operators=tuple(operators), positions=dict(positions))


def find(order: Find) -> Found:
    """The complete checkpoint or savepoint with the highest id among the direct children of the directories.

    Raises:
        Py4JJavaError: a directory can't be listed.
    """
    newest: tuple[int, str] | None = None
    for directory in order.directories:
        for path in _complete(directory):
            number = _load(path).getCheckpointId()
            if newest is None or number > newest[0]:
                newest = (number, path)
    return Found(path=newest[1] if newest else None, checkpoint_id=newest[0] if newest else None)


@functools.cache
def _file_systems() -> Any:
    """The JVM with file systems initialised as in Flink's own client, from FLINK_PLUGINS_DIR and FLINK_CONF_DIR."""
    jvm = get_gateway().jvm
    configuration = jvm.org.apache.flink.configuration.GlobalConfiguration.loadConfiguration()
    plugins = jvm.org.apache.flink.core.plugin.PluginUtils.createPluginManagerFromRootFolder(configuration)
    jvm.org.apache.flink.core.fs.FileSystem.initialize(configuration, plugins)
    return jvm


def _complete(directory: str) -> Iterator[str]:
    jvm = _file_systems()
    base = jvm.org.apache.flink.core.fs.Path(directory)
    files = base.getFileSystem()
    if not files.exists(base):
        return
    for entry in files.listStatus(base) or ():
        if entry.isDir() and files.exists(jvm.org.apache.flink.core.fs.Path(entry.getPath(), _METADATA)):
            yield entry.getPath().toString()


def _load(path: str) -> Any:
    jvm = _file_systems()
    access = jvm.org.apache.flink.runtime.state.filesystem.AbstractFsCheckpointStorageAccess
    handle = access.resolveCheckpointPointer(path).getMetadataHandle()
    stream = jvm.java.io.DataInputStream(handle.openInputStream())
    try:
        loader = jvm.java.lang.Thread.currentThread().getContextClassLoader()
        return jvm.org.apache.flink.runtime.checkpoint.Checkpoints.loadCheckpointMetadata(stream, loader, path)
    finally:
        stream.close()


def _has_state(operator: Any) -> bool:
    """Whether an operator has state, by Flink's own rule for state that a restore may drop."""
    return any(subtask.hasState() for subtask in operator.getStates().toArray())


def _positions(operator: Any) -> Iterator[tuple[str, int, int]]:
    """Topic, partition and next offset of each Kafka split in an operator's state; empty for other operators."""
    for subtask in operator.getStates().toArray():
        for handle in subtask.getManagedOperatorState().toArray():
            offsets = handle.getStateNameToPartitionOffsets().get(_SPLITS)
            if offsets is None:
                continue
            stream = handle.openInputStream()
            try:
                for offset in offsets.getOffsets():
                    stream.seek(offset)
                    split = _kafka_split(_element(stream))
                    if split:
                        yield split
            finally:
                stream.close()


def _element(stream: Any) -> bytes:
    """Read one element of a list state of byte arrays: its length, then its bytes."""
    data = get_gateway().jvm.java.io.DataInputStream(stream)
    return bytes(data.readNBytes(data.readInt()))


def _kafka_split(element: bytes) -> tuple[str, int, int] | None:
    """Parse a serialized KafkaPartitionSplit: envelope (version, length), topic, partition, start and end offset."""
    version, length = struct.unpack_from(">ii", element)
    body = element[8 : 8 + length]
    if version != 0 or len(body) < 2:
        return None
    size = struct.unpack_from(">H", body)[0]
    if len(body) != 2 + size + 4 + 8 + 8:
        return None
    partition, offset = struct.unpack_from(">iq", body, 2 + size)
    return body[2 : 2 + size].decode(), partition, offset
