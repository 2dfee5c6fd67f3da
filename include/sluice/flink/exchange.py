"""Exchanging requests for answers over HTTP: from any number of threads, on connections that they share.

urllib3 and not httpx, which costs six times as much of the processor per request: a sweep makes five for each job.
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
"""Takes method, path with its query, and a JSON body; gives the answer's status and body, or raises NoAnswerError."""


class NoAnswerError(Exception):
    """There was no answer: no connection, a broken one, or none in time."""


class NoTrustError(NoAnswerError):
    """There was no answer because the two sides could not agree on TLS."""


class HttpExchange:
    """An `Exchange` with a server.

    Args:
        access: Its address, and how to get in.
        connections: How many are kept open.
        timeout: Seconds until a connection must stand, and until an answer must have come.

    Raises:
        ConfigError: a file with certificates can't be used.
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
        """Status and body of the answer."""
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            answer = self._pool.request(method, self._base + target, body=body, headers=headers, retries=False)
        except SSLError as error:
            raise NoTrustError(str(error)) from error
        except HTTPError as error:
            raise NoAnswerError(str(error) or type(error).__name__) from error
        return answer.status, answer.data

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()
