"""Exchanging requests for answers over HTTP: from any number of threads, on connections that they share.

urllib3 and not httpx, which costs six times as much of the processor per request: a sweep makes five for each job.
"""

from __future__ import annotations

from collections.abc import Callable
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from urllib3 import PoolManager, ProxyManager, Timeout, make_headers
from urllib3.exceptions import HTTPError
from urllib3.util import parse_url

Exchange = Callable[[str, str, bytes | None], tuple[int, bytes]]
"""Takes method, path with its query, and a JSON body; gives the answer's status and body, or raises NoAnswerError."""


class NoAnswerError(Exception):
    """There was no answer: no connection, a broken one, or none in time."""


class HttpExchange:
    """An `Exchange` with a server.

    Args:
        url: Its address; user and password in it are sent.
        connections: How many are kept open.
        timeout: Seconds until a connection must stand, and until an answer must have come.
    """

    def __init__(self, url: str, connections: int, timeout: tuple[float, float]) -> None:
        address = parse_url(url)
        self._base = f"{address.scheme}://{address.netloc}{(address.path or '').rstrip('/')}"
        self._headers = {"Accept": "application/json"}
        if address.auth:
            self._headers |= make_headers(basic_auth=address.auth)
        proxy = getproxies().get(address.scheme or "")
        limits = Timeout(connect=timeout[0], read=timeout[1])
        # As httpx does for the calls that are not asynchronous.
        if proxy and not proxy_bypass(urlsplit(url).hostname or ""):
            self._pool: PoolManager = ProxyManager(proxy, 1, timeout=limits, maxsize=connections, block=True)
        else:
            self._pool = PoolManager(1, timeout=limits, maxsize=connections, block=True)

    def __call__(self, method: str, target: str, body: bytes | None) -> tuple[int, bytes]:
        """Status and body of the answer."""
        headers = self._headers if body is None else {**self._headers, "Content-Type": "application/json"}
        try:
            answer = self._pool.request(method, self._base + target, body=body, headers=headers, retries=False)
        except HTTPError as error:
            raise NoAnswerError(str(error) or type(error).__name__) from error
        return answer.status, answer.data

    def close(self) -> None:
        """Close the connections."""
        self._pool.clear()
