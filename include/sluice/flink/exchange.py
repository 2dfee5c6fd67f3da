"""HTTP requests over a connection pool that threads share.

Uses urllib3 because httpx takes six times as much CPU per request, and a sweep makes five requests per job.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from urllib3 import PoolManager, ProxyManager, Timeout
from urllib3.exceptions import HTTPError, SSLError
from urllib3.util import parse_url

from sluice.flink.access import Access

Exchange = Callable[[str, str, bytes | None], tuple[int, bytes]]
"""A function of method, path with query, and JSON body; returns status and body, or raises NoAnswerError."""


class NoAnswerError(Exception):
    """No answer: the connection failed or broke, or the request timed out."""


class TlsError(NoAnswerError):
    """No answer because the TLS handshake failed."""


class HttpExchange:
    """An `Exchange` with a server.

    Args:
        access: The server's address, login and TLS settings.
        connections: How many connections are kept open.
        timeout: Seconds to connect, and to wait for an answer.

    Raises:
        ConfigError: a certificate file can't be used.
    """

    def __init__(self, access: Access, connections: int, timeout: tuple[float, float]) -> None:
        address = parse_url(access.url)
        self._base = f"{address.scheme}://{address.netloc}{(address.path or '').rstrip('/')}"
        self._headers = {"Accept": "application/json"}
        if login := access.authorization:
            self._headers["Authorization"] = login
        context = access.tls.context() if access.is_encrypted else None
        proxy = getproxies().get(address.scheme or "")
        limits = Timeout(connect=timeout[0], read=timeout[1])
        given: dict[str, Any] = {"timeout": limits, "maxsize": connections, "block": True, "ssl_context": context}
        if proxy and not proxy_bypass(urlsplit(access.url).hostname or ""):
            self._pool: PoolManager = ProxyManager(proxy, 1, **given)
        else:
            self._pool = PoolManager(1, **given)

    def __call__(self, method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
        """Send a request; returns status and body of the response."""
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            answer = self._pool.request(method, self._base + target, body=body, headers=headers, retries=False)
        except SSLError as error:
            raise TlsError(str(error)) from error
        except HTTPError as error:
            raise NoAnswerError(str(error) or type(error).__name__) from error
        return answer.status, answer.data

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()
