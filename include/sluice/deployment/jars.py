"""The jars that are shipped with a job, by their content: another one of the same name is another one."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlparse

_MISSING = "missing"
"""In place of a digest: what is wrong is told by whoever needs the jar, and hides no job from those who look at it."""


def jar_urls(jars: Iterable[str], root: Path) -> tuple[str, ...]:
    """The URLs of the deployment file's jars: a path counts from the project's root."""
    return tuple(jar if ":" in jar else (root / jar).as_uri() for jar in jars)


def jar_file(url: str) -> Path | None:
    """The file of a jar's URL; None: it lies elsewhere."""
    found = urlparse(url)
    return Path(unquote(found.path)) if found.scheme == "file" else None


def jar_digests(jars: Iterable[str], root: Path) -> dict[str, str]:
    """SHA-256 of each jar's content, shortened, by its name in the deployment file; of one elsewhere its address.

    One that can't be read has none, which is a change: see `sluice.release.jars`.
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
    """SHA-256 of a jar's content, shortened; read once while the file stays as it is.

    Raises:
        OSError: it can't be read.
    """
    found = file.stat()
    # The time of the inode's change as well: the one of the content can be set by whoever writes it.
    return _digest(file, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)


@lru_cache(maxsize=64)
def _digest(file: Path, _inode: int, _size: int, _modified: int, _changed: int) -> str:
    """Of the file as it was then: every job of a fleet asks."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]
