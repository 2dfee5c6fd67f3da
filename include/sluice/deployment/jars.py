"""The jars that are shipped with a job, by their content: another one of the same name is another one.

Each is kept with the artifacts: a release that is gone back to runs with those that it had.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterable, Mapping
from functools import lru_cache
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlparse

from sluice.errors import ConfigError, OperationError, RefusedError

_MISSING = "missing"
"""In place of a digest: what is wrong is told by whoever needs the jar, and hides no job from those who look at it."""


def jar_urls(jars: Iterable[str], root: Path) -> tuple[str, ...]:
    """The URLs of the deployment file's jars: a path counts from the project's root."""
    return tuple(jar if ":" in jar else (root / jar).as_uri() for jar in jars)


def jar_digests(jars: Iterable[str], root: Path) -> dict[str, str]:
    """SHA-256 of each jar's content, shortened, by its name in the deployment file; of one elsewhere its address.

    One that can't be read has none, which is a change: see `keep_jars`.
    """
    named = tuple(jars)
    return {jar: _digest_of(url) for jar, url in zip(named, jar_urls(named, root), strict=True)}


def _digest_of(url: str) -> str:
    found = urlparse(url)
    if found.scheme != "file":
        return url
    file = Path(unquote(found.path))
    try:
        stat = file.stat()
        return _digest(file, stat.st_mtime_ns, stat.st_size)
    except OSError:
        return _MISSING


def keep_jars(digests: Mapping[str, str], root: Path, store: Path) -> None:
    """Put jars into the store, unless they are there.

    Args:
        digests: See `jar_digests`.
        root: The project's directory.
        store: Where artifacts lie.

    Raises:
        ConfigError: one can't be read.
        OperationError: the store can't be written to.
    """
    for url, digest in zip(jar_urls(digests, root), digests.values(), strict=True):
        kept = _kept(store, digest)
        if digest == url or kept.is_file():
            continue
        file = Path(unquote(urlparse(url).path))
        try:
            content = file.open("rb")
        except OSError as error:
            raise ConfigError(
                f"flink.jars: {file} can't be read: {error.strerror}", remedy="correct the path in the deployment file"
            ) from error
        with content:
            _copy(content, kept)


def kept_jars(digests: Mapping[str, str], root: Path, store: Path) -> tuple[str, ...]:
    """The URLs of a release's jars, as they were then.

    Args:
        digests: The release's.
        root: The project's directory.
        store: Where artifacts lie.

    Raises:
        RefusedError: one isn't kept.
    """
    urls = []
    for jar, url, digest in zip(digests, jar_urls(digests, root), digests.values(), strict=True):
        kept = _kept(store, digest)
        if digest != url and not kept.is_file():
            raise RefusedError(
                f"the jar {jar} of this release ({digest}) is not kept in {kept.parent}",
                remedy="restore it from a backup; a release runs with the jars that it had, or not at all",
            )
        urls.append(url if digest == url else kept.as_uri())
    return tuple(urls)


def _kept(store: Path, digest: str) -> Path:
    return store.absolute() / "jars" / f"{digest}.jar"


def _copy(content: BinaryIO, kept: Path) -> None:
    """Write beside it and rename: another process sees all of it or nothing."""
    try:
        kept.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=kept.parent, prefix=".", suffix=".part")
        with os.fdopen(handle, "wb") as part:
            shutil.copyfileobj(content, part)
        Path(name).chmod(0o644)
        Path(name).replace(kept)
    except OSError as error:
        raise OperationError(
            f"the artifact can't be written to {kept.parent}: {error.strerror}",
            remedy="free space, or set SLUICE_ARTIFACTS to a directory that can be written to",
        ) from error


@lru_cache(maxsize=64)
def _digest(file: Path, _changed: int, _size: int) -> str:
    """Of the file as it was then: every job of a fleet asks."""
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()[:16]
