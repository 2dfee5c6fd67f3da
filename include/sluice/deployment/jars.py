"""The jars that are shipped with a job, identified by their content: a changed jar changes the release."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlparse

_MISSING = "missing"
"""In place of a digest. The error is raised where the jar is used, so that jobs with a missing jar are still listed."""


def jar_urls(jars: Iterable[str], root: Path) -> tuple[str, ...]:
    """The URLs of the deployment file's jars; a path is relative to the project's root."""
    return tuple(jar if ":" in jar else (root / jar).as_uri() for jar in jars)


def jar_file(url: str) -> Path | None:
    """The local file of a jar's URL; None: it isn't a file URL."""
    found = urlparse(url)
    return Path(unquote(found.path)) if found.scheme == "file" else None


def jar_digests(jars: Iterable[str], root: Path) -> dict[str, str]:
    """Digest of each jar by its name in the deployment file: the first 16 hex digits of SHA-256 of the content.

    A jar that is no local file has its URL instead. A jar that can't be read has `missing`, which counts as a change;
    `sluice.release.jars` raises the error.
    """
    named = tuple(jars)
    return {jar: _digest_of(url) for jar, url in zip(named, jar_urls(named, root), strict=True)}


def _digest_of(url: str) -> str:
    file = jar_file(url)
    if file is None:
        return url
    try:
        return digest_of(file)
    except OSError:
        return _MISSING


def digest_of(file: Path) -> str:
    """The first 16 hex digits of SHA-256 of a jar's content; cached until the file changes.

    Raises:
        OSError: the file can't be read.
    """
    found = file.stat()
    # ctime as well as mtime: a program can set mtime to any value.
    return _digest(file, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@lru_cache(maxsize=64)
def _digest(file: Path, _inode: int, _size: int, _modified: int, _changed: int) -> str:
    """The digest of the file with these attributes; cached, since every job of a fleet needs it."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]
