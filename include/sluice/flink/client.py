"""Sending calls to a cluster, blocking or not; the meaning of an answer is decided in one place for both."""

from __future__ import annotations

import asyncio
import json
import time
from types import TracebackType
from typing import Self, TypeVar

import httpx
from pydantic import ValidationError

from sluice.errors import FlinkError, UnreachableError
from sluice.flink.calls import Call

T = TypeVar("T")

_TIMEOUT = httpx.Timeout(10, connect=5)
_PAUSES = (0.2, 0.5, 1.0)
"""Seconds between attempts of a repeatable call."""
_TRANSIENT = frozenset({502, 503, 504})


class FlinkClient:
    """A cluster's REST API, blocking. A context manager.

    Args:
        url: The cluster's address, e.g. http://127.0.0.1:8081.
        transport: Instead of the network, for tests.
    """

    def __init__(self, url: str, *, transport: httpx.BaseTransport | None = None) -> None:
        self.url = url
        self._http = httpx.Client(base_url=url, timeout=_TIMEOUT, transport=transport)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._http.close()

    def send(self, call: Call[T]) -> T:
        """The answer to a call; repeatable ones are tried again on transient errors.

        Raises:
            UnreachableError: no answer, or not now. It says nothing about any job.
            FlinkError: the cluster said no; status 404 for a job that it doesn't know.
        """
        for pause in (*_PAUSES, None):
            try:
                return _read(
                    self.url, call, self._http.request(call.method, call.path, params=call.params, json=call.body)
                )
            except httpx.TransportError as error:
                failure = _unreachable(self.url, call, error)
            except UnreachableError as error:
                failure = error
            if pause is None or not call.repeatable:
                raise failure
            time.sleep(pause)
        raise AssertionError  # the last pause is None


class AsyncFlinkClient:
    """A cluster's REST API for an event loop. An async context manager.

    Args:
        url: The cluster's address.
        transport: Instead of the network, for tests.
    """

    def __init__(self, url: str, *, transport: httpx.AsyncBaseTransport | None = None) -> None:
        self.url = url
        self._http = httpx.AsyncClient(base_url=url, timeout=_TIMEOUT, transport=transport)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._http.aclose()

    async def send(self, call: Call[T]) -> T:
        """As `FlinkClient.send`."""
        for pause in (*_PAUSES, None):
            try:
                return _read(
                    self.url, call, await self._http.request(call.method, call.path, params=call.params, json=call.body)
                )
            except httpx.TransportError as error:
                failure = _unreachable(self.url, call, error)
            except UnreachableError as error:
                failure = error
            if pause is None or not call.repeatable:
                raise failure
            await asyncio.sleep(pause)
        raise AssertionError  # the last pause is None


def _unreachable(url: str, call: Call[T], error: httpx.TransportError) -> UnreachableError:
    reason = str(error) or type(error).__name__
    return UnreachableError(
        f"Flink at {url} does not answer ({call.method} {call.path}: {reason})",
        remedy="start the cluster, or correct flink.url in the deployment file",
    )


def _read(url: str, call: Call[T], response: httpx.Response) -> T:
    """What an answer means."""
    if response.status_code in _TRANSIENT:
        raise UnreachableError(f"Flink at {url} is not ready: {response.status_code} for {call.path}")
    if response.is_error:
        words, missing = _refusal(response)
        if "UnavailableDispatcherOperationException" in words:
            # The JobManager of the job is just starting.
            raise UnreachableError(f"Flink at {url} is not ready: {words}")
        status = 404 if missing else response.status_code
        raise FlinkError(f"Flink at {url}: {call.method} {call.path}: {words}", status=status)
    try:
        return call.answer.validate_json(response.content or b"null")
    except ValidationError as error:
        raise FlinkError(
            f"Flink at {url}: {call.path}: an answer of another shape than Flink 2.3's: {error.errors()[0]['msg']}",
            remedy="check that the address is a Flink cluster of a supported version",
        ) from error


def _refusal(response: httpx.Response) -> tuple[str, bool]:
    """The refusal's first line, and whether it means that there is no such job.

    `/jobs/<id>/status` of an unknown job is a 500 that carries a FlinkJobNotFoundException.
    """
    try:
        errors = json.loads(response.content)["errors"]
    except (ValueError, KeyError, TypeError):
        return f"{response.status_code} {response.text[:200]}", False
    text = "\n".join(map(str, errors))
    causes = [line.strip() for line in text.replace("\\n", "\n").splitlines() if "Exception" in line]
    words = causes[-1] if causes else text.strip().splitlines()[0] if text.strip() else str(response.status_code)
    missing = response.status_code == 404 or "FlinkJobNotFoundException" in text
    return words.removeprefix("<Exception on server side:")[:300], missing
