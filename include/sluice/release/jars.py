"""The jars of releases, stored beside the artifacts: a rollback runs a release with the jars that it had."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from pathlib import Path

from sluice.deployment.jars import digest_of, jar_file, jar_urls
from sluice.errors import ConfigError, OperationError, RefusedError
from sluice.release.artifact import write_atomically


def store_jars(digests: Mapping[str, str], root: Path, store: Path) -> None:
    """Copy jars into the store, unless they are stored already.

    Args:
        digests: See `sluice.deployment.jars.jar_digests`.
        root: The project's directory.
        store: The directory of the artifacts.

    Raises:
        ConfigError: a jar can't be read.
        OperationError: the store can't be written.
    """
    for url, digest in zip(jar_urls(digests, root), digests.values(), strict=True):
        file, kept = jar_file(url), _kept(store, digest)
        # A stored copy with another content is replaced: the project's jar has the right digest.
        if file is None or (kept.is_file() and digest_of(kept) == digest):
            continue
        try:
            content = file.open("rb")
        except OSError as error:
            raise ConfigError(
                f"flink.jars: {file} can't be read: {error.strerror}", remedy="correct the path in the deployment file"
            ) from error
        with content:
            try:
                with write_atomically(kept) as copy:
                    shutil.copyfileobj(content, copy)
            except OSError as error:
                raise OperationError(
                    f"the artifact can't be written to {kept.parent}: {error.strerror}",
                    remedy="free space, or set SLUICE_ARTIFACTS to a directory that can be written to",
                ) from error


def stored_jars(digests: Mapping[str, str], root: Path, store: Path) -> tuple[str, ...]:
    """The URLs of a release's jars in the store.

    Args:
        digests: The digests in the release.
        root: The project's directory.
        store: The directory of the artifacts.

    Raises:
        RefusedError: a jar is missing in the store, or its content has changed.
    """
    urls = []
    for jar, url, digest in zip(digests, jar_urls(digests, root), digests.values(), strict=True):
        is_elsewhere, kept = jar_file(url) is None, _kept(store, digest)
        if not is_elsewhere:
            _refuse_other(jar, digest, kept)
        urls.append(url if is_elsewhere else kept.as_uri())
    return tuple(urls)


def _refuse_other(jar: str, digest: str, kept: Path) -> None:
    restore = f"restore {kept} from a backup; a release runs only with the jars that it was made with"
    if not kept.is_file():
        raise RefusedError(f"the jar {jar} of this release ({digest}) is missing in {kept.parent}", remedy=restore)
    try:
        found = digest_of(kept)
    except OSError as error:
        raise RefusedError(
            f"the jar {jar} of this release, stored as {kept}, can't be read: {error.strerror}", remedy=restore
        ) from error
    if found != digest:
        raise RefusedError(
            f"the jar {jar} of this release has changed in the store: {kept} has digest {found}, expected {digest}",
            remedy=f"find out what wrote to {kept.parent}; then {restore}",
        )


def _kept(store: Path, digest: str) -> Path:
    return store.absolute() / "jars" / f"{digest}.jar"
