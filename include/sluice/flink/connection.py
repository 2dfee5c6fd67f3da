"""An Airflow connection of type `flink` as access to a cluster; without Airflow it comes from the environment."""

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
"""What the extra may hold."""
_HOST = re.compile(r"[A-Za-z0-9._-]+|\[?[0-9A-Fa-f:.]+\]?")
_PATH = re.compile(r"[^/?#\s]+(/[^/?#\s]+)*")
_TRUE, _FALSE = (True, "true", "True", "1"), (False, "false", "False", "0")


@dataclass(frozen=True)
class Connection:
    """The fields of an Airflow connection.

    Attributes:
        name: Its id.
        kind: Its type.
        extra: What its extra holds.
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
        """What it gives access to.

        Raises:
            ConfigError: a field is missing or wrong; names it.
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
            raise self._refused("it has a password and no login; a bearer token goes into the field of that name")
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
            raise self._refused(f"its host is {_bare(self.host)!r}, expected a name or an address alone")
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
            raise self._refused("it has settings of TLS, and its schema is not https")
        return tls

    def _line(self, token: str) -> str:
        """A token as it stands in a header."""
        if not token.isascii() or not token.isprintable() or " " in token:
            raise self._refused("its token has spaces, line ends or letters beyond ASCII")
        return token

    def _refused(self, what: str) -> ConfigError:
        return ConfigError(
            f"Flink connection {self.name}: {what}",
            remedy="correct the connection; its fields: docs/a-cluster-of-your-own.md",
        )


def from_environment(name: str, variables: Mapping[str, str] = os.environ) -> Connection:
    """The connection as Airflow reads it from AIRFLOW_CONN_<NAME>: as JSON, or as a URI.

    Raises:
        ConfigError: there is no such variable, or it is neither.
    """
    variable = f"AIRFLOW_CONN_{name.upper()}"
    text = variables.get(variable)
    if not text:
        raise ConfigError(
            f"the Flink connection {name} is not known here: {variable} is not set",
            remedy=f"set {variable} to the connection as JSON or as a URI, as Airflow takes it",
        )
    try:
        return _from_json(name, text) if text.lstrip().startswith("{") else _from_uri(name, text)
    except (ValueError, TypeError, AttributeError):
        # Its cause would hold the text, and the text holds secrets.
        raise ConfigError(
            f"{variable} is neither the JSON nor the URI of a connection",
            remedy="print it with `airflow connections get -o json`, or write it as docs/a-cluster-of-your-own.md does",
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
    """A host without what stands before an @: it may be a password."""
    return f"***@{host.rpartition('@')[2]}" if "@" in host else host
