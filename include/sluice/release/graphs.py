"""Compiled graphs of releases: stored encrypted beside the artifacts, so that each is compiled once.

A graph contains what its release was compiled with, such as broker credentials and secret settings. So its file is
encrypted, and its name is a keyed digest: likely values of a secret can't be tried against it without the key.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import tempfile
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
            if found is None or not all(Path(each).is_file() for each in found.ready.files):
                continue
            if key != self._keys[0]:
                # A former key is removed some day.
                self.add(source, found)
                file.unlink(missing_ok=True)
                return found
            # Kept as long as it is used.
            with suppress(OSError):
                os.utime(file)
            return found
        return None

    def remove(self, source: Mapping[str, Any]) -> None:
        """Remove a graph.

        Args:
            source: As for `find`.
        """
        for key in self._keys:
            with suppress(OSError):
                self._file(key, source).unlink()

    def add(self, source: Mapping[str, Any], compiled: Compiled) -> None:
        """Store a graph. A store that can't be written is reported in the log: the graph is compiled again next time.

        Args:
            source: As for `find`.
            compiled: The compiled release.
        """
        target = self._file(self._keys[0], source)
        # Its name is part of the content: a graph that is copied to another name is not used.
        token = self._cipher.encrypt(zlib.compress(f"{target.name}\0{compiled.model_dump_json()}".encode()))
        try:
            make_private(self._directory)
            with write_atomically(target) as file:
                file.write(token)
        except OSError as error:
            self._log(f"the compiled graph can't be stored in {self._directory}: {error.strerror}")
        self._delete_unused()

    def _file(self, key: bytes, source: Mapping[str, Any]) -> Path:
        text = json.dumps(source, sort_keys=True, default=str).encode()
        return self._directory / f"{hmac.new(key, text, hashlib.sha256).hexdigest()}.graph"

    def _read(self, file: Path) -> Compiled | None:
        try:
            name, _, content = zlib.decompress(self._cipher.decrypt(file.read_bytes())).partition(b"\0")
            if name.decode() == file.name:
                return Compiled.model_validate_json(content)
            reason = "it belongs to another release"
        except FileNotFoundError:
            return None
        except (OSError, InvalidToken, zlib.error, ValidationError, UnicodeDecodeError) as error:
            reason = type(error).__name__
        # Never hand a damaged or foreign file to Java, which would deserialize it.
        self._log(f"the stored graph {file} can't be used ({reason}): the release is compiled again")
        return None

    def _delete_unused(self) -> None:
        with suppress(OSError):
            for file in self._directory.glob("*.graph"):
                if file.stat().st_mtime < time.time() - _UNUSED:
                    file.unlink()


def _keys(settings: Settings) -> list[str]:
    """The keys: the first one encrypts, all decrypt."""
    given = settings.graph_keys
    if not given:
        return [_own_key(settings.home / _KEY_FILE)]
    keys = [key.strip() for key in given.get_secret_value().split(",")]
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


def _own_key(file: Path) -> str:
    """The key of this machine, which is made at first use."""
    make_private(file.parent)
    try:
        if not file.exists():
            _make_key(file)
        key = file.read_text().strip()
    except OSError as error:
        raise ConfigError(
            f"the key of the compiled graphs can't be read or made: {file}: {error.strerror}",
            remedy="make the directory writable for this user, or set SLUICE_GRAPH_KEYS",
        ) from error
    try:
        Fernet(key)
    except ValueError as error:
        raise ConfigError(
            f"the key of the compiled graphs is damaged: {file}",
            remedy="remove the file: a new key is made, and each release is compiled once more",
        ) from error
    return key


def _make_key(file: Path) -> None:
    """Write a new key, unless another process makes one at the same time."""
    # Written elsewhere first, so that no process reads half a key. Its owner alone can read the file.
    handle, name = tempfile.mkstemp(dir=file.parent, prefix=f".{file.name}.")
    new = Path(name)
    try:
        with os.fdopen(handle, "wb") as made:
            made.write(Fernet.generate_key())
            made.flush()
            os.fsync(made.fileno())
        with suppress(FileExistsError):
            os.link(new, file)
    finally:
        new.unlink(missing_ok=True)
