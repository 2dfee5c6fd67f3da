"""Airflow connections of type `flink`. The `sluice` command reads them from the environment, without Airflow."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from sluice.errors import ConfigError
from sluice.flink.access import Access, Tls

TYPE = "flink"
"""The connection type."""
EXTRAS = ("path", "token", "verify", "ca_bundle", "client_certificate", "client_key")
"""The fields that the extra may have."""
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?")
_PATH = re.compile(r"[^/?#\s]+(/[^/?#\s]+)*")
_TRUE, _FALSE = (True, "true", "True", "1"), (False, "false", "False", "0")


@dataclass(frozen=True)
class Connection:
    """The fields of an Airflow connection.

    Attributes:
        name: The connection id.
        kind: The connection type.
        extra: The fields of the extra.
    """

    name: str
    kind: str | None = None
    host: str | None = None
    port: int | None = None
    schema: str | None = None
    login: str | None = None
    password: str | None = field(default=None, repr=False)
    extra: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def access(self) -> Access:
        """The access to the cluster that the connection describes.

        Raises:
            ConfigError: a field is missing or invalid; the message names it.
        """
        if self.kind != TYPE:
            raise self._refused(f"its type is {self.kind or 'missing'}, expected {TYPE}")
        extra = {name: value for name, value in self.extra.items() if value not in (None, "")}
        for name in extra:
            if name not in EXTRAS:
                raise self._refused(f"its extra has {name!r}, expected one of {', '.join(EXTRAS)}")
        tls = self._tls(extra)
        token = extra.get("token")
        if token is not None and (self.login or self.password):
            raise self._refused("it has a token and a login, expected one of them")
        if self.password and not self.login:
            raise self._refused("it has a password and no login; a bearer token belongs into the extra's field token")
        return Access(
            self._url(extra),
            user=self.login or None,
            password=self.password or None,
            token=None if token is None else self._line(str(token)),
            tls=tls,
        )

    def _url(self, extra: Mapping[str, Any]) -> str:
        scheme = self.schema or "http"
        if scheme not in ("http", "https"):
            raise self._refused(f"its schema is {scheme!r}, expected http or https")
        if not self.host:
            raise self._refused("its host is missing")
        if not _HOST.fullmatch(self.host):
            raise self._refused(f"its host is {_bare(self.host)!r}, expected only a host name or an IP address")
        host = f"[{self.host}]" if ":" in self.host and not self.host.startswith("[") else self.host
        path = str(extra.get("path", "")).strip("/")
        if path and not _PATH.fullmatch(path):
            raise self._refused(f"its path is {path!r}, expected one like /team")
        return f"{scheme}://{host}{f':{self.port}' if self.port else ''}{f'/{path}' if path else ''}"

    def _tls(self, extra: Mapping[str, Any]) -> Tls:
        verify = extra.get("verify", True)
        if verify not in (*_TRUE, *_FALSE):
            raise self._refused(f"its verify is {verify!r}, expected true or false")
        files = {name: str(extra[name]) for name in ("ca_bundle", "client_certificate", "client_key") if name in extra}
        tls = Tls(verify=verify in _TRUE, **files)
        if tls.client_key and not tls.client_certificate:
            raise self._refused("it has a client_key and no client_certificate")
        if self.schema != "https" and tls != Tls():
            raise self._refused("it has TLS settings, and its schema is not https")
        return tls

    def _line(self, token: str) -> str:
        """A token that can be sent in a header."""
        if not token.isascii() or not token.isprintable() or " " in token:
            raise self._refused("its token has spaces, line ends or letters beyond ASCII")
        return token

    def _refused(self, what: str) -> ConfigError:
        return ConfigError(
            f"Flink connection {self.name}: {what}",
            remedy="correct the connection; for its fields see docs/a-cluster-of-your-own.md",
        )


def from_environment(name: str, variables: Mapping[str, str] = os.environ) -> Connection:
    """Read a connection from AIRFLOW_CONN_<NAME>, in JSON or as a URI, as Airflow does.

    Raises:
        ConfigError: the variable is not set, or is neither JSON nor a URI.
    """
    variable = f"AIRFLOW_CONN_{name.upper()}"
    text = variables.get(variable)
    if not text:
        raise ConfigError(
            f"the Flink connection {name} is not defined in this environment: {variable} is not set",
            remedy=f"set {variable} to the connection in JSON or as a URI, in Airflow's format",
        )
    try:
        return _from_json(name, text) if text.lstrip().startswith("{") else _from_uri(name, text)
    except (ValueError, TypeError, AttributeError):
        # Without the cause, which would contain the text, and so secrets.
        raise ConfigError(
            f"{variable} is neither the JSON nor the URI of a connection",
            remedy="print it with `airflow connections get -o json`, or see docs/a-cluster-of-your-own.md",
        ) from None


def _from_json(name: str, text: str) -> Connection:
    given: dict[str, Any] = json.loads(text)
    extra = given.get("extra") or {}
    port = given.get("port")
    return Connection(
        name,
        given.get("conn_type"),
        given.get("host"),
        int(port) if port else None,
        given.get("schema"),
        given.get("login"),
        given.get("password"),
        _mapping(json.loads(extra) if isinstance(extra, str) else extra),
    )


def _from_uri(name: str, text: str) -> Connection:
    parts = urlsplit(text)
    query = dict(parse_qsl(parts.query, keep_blank_values=True))
    return Connection(
        name,
        parts.scheme.replace("-", "_") or None,
        unquote(parts.hostname or "") or None,
        parts.port,
        unquote(parts.path[1:]) or None,
        _decoded(parts.username),
        _decoded(parts.password),
        _mapping(json.loads(query["__extra__"])) if "__extra__" in query else query,
    )


def _decoded(text: str | None) -> str | None:
    return None if text is None else unquote(text)


def _mapping(value: object) -> Mapping[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(type(value).__name__)
    return value


def _bare(host: str) -> str:
    """A host without the part before an @, which may be a password."""
    return f"***@{host.rpartition('@')[2]}" if "@" in host else host
