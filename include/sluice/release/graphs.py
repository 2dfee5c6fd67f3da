"""Compiled graphs of releases: stored encrypted beside the artifacts, so that each is compiled once.

A graph contains what its release was compiled with, such as broker credentials and secret settings. So its file is
encrypted, and its name is a keyed digest: it does not reveal a secret to somebody who tries likely values.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import time
import zlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from pydantic import BaseModel, ConfigDict, ValidationError

from sluice.client.protocol import Ready
from sluice.errors import ConfigError
from sluice.release.artifact import write_atomically
from sluice.settings import Settings, make_private

_UNUSED = 180 * 24 * 3600
"""Seconds after which a graph that was not submitted is deleted."""
_KEY_FILE = "graphs.key"


class Compiled(BaseModel):
    """A compiled release."""

    model_config = ConfigDict(frozen=True, extra="forbid", hide_input_in_errors=True)

    ready: Ready
    """What the client answered; its `content` is the graph."""
    generated_code: int
    """The version of the code that Sluice has generated around the pipeline; see `sluice.release.versions.PIPELINE`."""
    files: tuple[str, ...] = ()
    """The files that a submission of the graph uploads."""


class GraphStore:
    """The graphs in the directory `graphs` of the artifact store.

    Args:
        settings: The settings of the process, with the keys.
        log: Receives a line if a graph can't be used.

    Raises:
        ConfigError: a key is invalid, or the file of the key can't be made.
    """

    def __init__(self, settings: Settings, log: Callable[[str], None]) -> None:
        self._directory = settings.artifacts / "graphs"
        self._log = log
        keys = _keys(settings)
        self._cipher = MultiFernet([Fernet(key) for key in keys])
        self._keys = [base64.urlsafe_b64decode(key) for key in keys]

    def find(self, source: Mapping[str, Any]) -> Compiled | None:
        """The graph that was compiled from these values; None: it is not stored, or can't be used.

        Args:
            source: Everything that decides what the release compiles to, as JSON values; may contain secrets.
        """
        for key in self._keys:
            file = self._file(key, source)
            found = self._read(file)
            if found is not None and all(Path(each).is_file() for each in found.files):
                # Kept as long as it is used.
                with suppress(OSError):
                    os.utime(file)
                return found
        return None

    def add(self, source: Mapping[str, Any], compiled: Compiled) -> None:
        """Store a graph. A store that can't be written is reported in the log: the graph is compiled again next time.

        Args:
            source: As for `find`.
            compiled: The compiled release.
        """
        token = self._cipher.encrypt(zlib.compress(compiled.model_dump_json().encode()))
        try:
            make_private(self._directory)
            with write_atomically(self._file(self._keys[0], source)) as file:
                file.write(token)
        except OSError as error:
            self._log(f"the compiled graph can't be stored in {self._directory}: {error.strerror}")
        self._delete_unused()

    def _file(self, key: bytes, source: Mapping[str, Any]) -> Path:
        text = json.dumps(source, sort_keys=True, default=str).encode()
        return self._directory / f"{hmac.new(key, text, hashlib.sha256).hexdigest()}.graph"

    def _read(self, file: Path) -> Compiled | None:
        try:
            return Compiled.model_validate_json(zlib.decompress(self._cipher.decrypt(file.read_bytes())))
        except FileNotFoundError:
            return None
        except (OSError, InvalidToken, zlib.error, ValidationError) as error:
            # A damaged or foreign file: never hand it to Java, which would deserialize it.
            self._log(f"the stored graph {file} can't be used ({type(error).__name__}): the release is compiled again")
            return None

    def _delete_unused(self) -> None:
        with suppress(OSError):
            for file in self._directory.glob("*.graph"):
                if file.stat().st_mtime < time.time() - _UNUSED:
                    file.unlink()


def _keys(settings: Settings) -> list[str]:
    """The keys: the first one encrypts, all decrypt."""
    given = settings.graph_keys
    keys = [key.strip() for key in given.get_secret_value().split(",")] if given else [_own_key(settings.home)]
    for key in keys:
        try:
            Fernet(key)
        except ValueError as error:
            raise ConfigError(
                "SLUICE_GRAPH_KEYS: expected one or more Fernet keys, separated by commas (32 bytes each, URL-safe "
                "base64), got a value that is not shown",
                remedy='make one with: python -c "from cryptography.fernet import Fernet; '
                'print(Fernet.generate_key().decode())"',
            ) from error
    return keys


def _own_key(home: Path) -> str:
    """The key of this machine, which is made at first use."""
    file = home / _KEY_FILE
    make_private(home)
    try:
        with suppress(FileNotFoundError):
            return file.read_text().strip()
        # Written elsewhere first, so that no process reads half a key; of two processes, the first one's is used.
        new = file.with_name(f"{_KEY_FILE}.{os.getpid()}")
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as made:
            made.write(Fernet.generate_key())
        with suppress(FileExistsError):
            os.link(new, file)
        new.unlink()
        return file.read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"the key of the compiled graphs can't be read or made: {file}: {error.strerror}",
            remedy="make the directory writable for this user, or set SLUICE_GRAPH_KEYS",
        ) from error
