"""Importing job files as they are now, and not as cached bytecode remembers them.

Python takes cached bytecode for current where the source's size and its time in whole seconds are the same. A file that
is edited twice within a second, say from `1` to `2`, then runs as it was before the second edit.
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
"""Seconds after a change in which a further one may leave size and time as they are."""


class CurrentSourceLoader(SourceFileLoader):
    """Loads a file from its source, without reading or writing bytecode, where it was changed a moment ago."""

    def path_stats(self, path: str) -> Any:
        """Time and size of the source, by which Python compares bytecode with it.

        Raises:
            OSError: the source has just changed. Python then leaves bytecode alone.
        """
        stats = super().path_stats(path)
        if time.time() - stats["mtime"] < _UNSETTLED:
            raise OSError(f"{path} has just changed")
        return stats


_hooks: list[Callable[[str], Any]] = []
"""The path hook that is installed, at most one."""


def load_current_sources(directory: Path) -> None:
    """Have Python load the modules in and below a directory by `CurrentSourceLoader`, and no longer a former one's."""
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
