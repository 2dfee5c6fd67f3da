"""Import job files from their current source, never from stale bytecode.

Python considers cached bytecode current if the size and the modification time in whole seconds are the same. After two
edits within a second, say from `1` to `2`, it would run the code from before the second edit.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from importlib.machinery import (
    BYTECODE_SUFFIXES,
    EXTENSION_SUFFIXES,
    SOURCE_SUFFIXES,
    ExtensionFileLoader,
    FileFinder,
    SourceFileLoader,
    SourcelessFileLoader,
)
from pathlib import Path
from typing import Any

_UNSETTLED = 2.0
"""Seconds after a change during which another change may leave size and time equal."""


class CurrentSourceLoader(SourceFileLoader):
    """Loads a file that was changed just now from its source, without reading or writing bytecode."""

    def path_stats(self, path: str) -> Any:
        """Time and size of the source, with which Python compares the bytecode.

        Raises:
            OSError: the source has just changed. Python then neither reads nor writes bytecode.
        """
        stats = super().path_stats(path)
        if time.time() - stats["mtime"] < _UNSETTLED:
            raise OSError(f"{path} has just changed")
        return stats


_hooks: list[Callable[[str], Any]] = []
"""The installed path hook; at most one."""


def load_current_sources(directory: Path) -> None:
    """Load modules in and below a directory by `CurrentSourceLoader`; replaces an earlier call for another one."""
    find = FileFinder.path_hook(
        (ExtensionFileLoader, EXTENSION_SUFFIXES),
        (CurrentSourceLoader, SOURCE_SUFFIXES),
        (SourcelessFileLoader, BYTECODE_SUFFIXES),
    )

    def hook(path: str) -> Any:
        if not _is_within(path, str(directory)):
            raise ImportError(f"{path} is not in {directory}")
        return find(path)

    for former in _hooks:
        if former in sys.path_hooks:
            sys.path_hooks.remove(former)
    _hooks[:] = [hook]
    sys.path_hooks.insert(0, hook)
    for path in [path for path in sys.path_importer_cache if _is_within(path, str(directory))]:
        del sys.path_importer_cache[path]


def _is_within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory + os.sep)
