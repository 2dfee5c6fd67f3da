"""The files of a directory in which processes go on writing."""

import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path


def file_contents(directory: Path) -> Iterator[tuple[Path, bytes]]:
    """Each regular file with its content, jars excepted: what they hold is compressed.

    A file or directory that is removed before it is read is skipped: Flink removes checkpoints. `Path.rglob` would
    raise FileNotFoundError for the directory.
    """
    for parent, _, names in os.walk(directory):
        for name in names:
            file = Path(parent, name)
            if file.suffix != ".jar" and file.is_file() and not file.is_symlink():
                with suppress(FileNotFoundError):
                    yield file, file.read_bytes()
