"""What a checkpoint or savepoint holds, read by Flink's own code from wherever it lies."""

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
"""Flink's name for the splits that a source reader keeps in its state."""


def inspect(path: str) -> State:
    """Operators with state, and the sources' positions.

    Raises:
        Py4JJavaError: it is missing, incomplete, or of a version that this Flink can't read.
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
            # Several sources may read a partition: the one that is furthest behind counts.
            known = positions[topic].get(partition, offset)
            positions[topic][partition] = min(known, offset)
    return State(checkpoint_id=metadata.getCheckpointId(), operators=tuple(operators), positions=dict(positions))


def find(order: Find) -> Found:
    """The complete checkpoint or savepoint with the highest id directly below the directories.

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
    """The JVM, with the file systems of FLINK_PLUGINS_DIR configured by FLINK_CONF_DIR, as Flink's own client does."""
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
    """As Flink itself decides whether an operator's state may be left behind."""
    return any(subtask.hasState() for subtask in operator.getStates().toArray())


def _positions(operator: Any) -> Iterator[tuple[str, int, int]]:
    """Topic, partition and next offset of each Kafka split in an operator's state; nothing for other operators."""
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
    """One element of a list state of byte arrays: its length, then its bytes."""
    data = get_gateway().jvm.java.io.DataInputStream(stream)
    return bytes(data.readNBytes(data.readInt()))


def _kafka_split(element: bytes) -> tuple[str, int, int] | None:
    """A serialized KafkaPartitionSplit: version and length of the envelope, topic, partition, offset, end."""
    version, length = struct.unpack_from(">ii", element)
    body = element[8 : 8 + length]
    if version != 0 or len(body) < 2:
        return None
    size = struct.unpack_from(">H", body)[0]
    if len(body) != 2 + size + 4 + 8 + 8:
        return None
    partition, offset = struct.unpack_from(">iq", body, 2 + size)
    return body[2 : 2 + size].decode(), partition, offset
