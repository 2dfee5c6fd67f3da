"""Sending calls to a cluster, blocking or not; the meaning of an answer is decided in one place for both."""

from __future__ import annotations

import asyncio
import json
import re
import time
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlencode

import httpx
from pydantic import ValidationError

from sluice.errors import FlinkError, JobNotFoundError, UnreachableError
from sluice.flink.calls import Call
from sluice.flink.exchange import Exchange, HttpExchange, NoAnswerError

T = TypeVar("T")

_CONNECT, _ANSWER = 5.0, 10.0
"""Seconds until a connection must stand, and until an answer must have come."""
_TIMEOUT = httpx.Timeout(_ANSWER, connect=_CONNECT)
_PAUSES = (0.2, 0.5, 1.0)
"""Seconds between attempts of a repeatable call."""
_NO_SUCH_JOB = re.compile(r"FlinkJobNotFoundException|\bJob [0-9a-f]{32} not found|\bJob could not be found")
"""How Flink 2.3 says so: `/jobs/<id>/status` by a 500 with the exception, `/jobs/<id>` and what lies below by a 404
with the second, a cancellation by a 404 with the third. Other 404s say nothing about the job."""
_REFUSED, _NOT_FOUND, _SERVER_ERROR = 400, 404, 500
_NOT_ALLOWED = (401, 403)
_BAD_REQUEST = "/bad-request"
"""Where Flink's server sends what it can't decode, a request line of over 4,096 bytes for instance; it then answers
that there is no such file."""


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
            JobNotFoundError: the cluster doesn't know the job.
            FlinkError: the cluster said no.
        """
        for pause in (*_PAUSES, None):
            try:
                answer = self._http.request(call.method, call.path, params=call.params, json=call.body)
                return _read(self.url, call, answer.status_code, answer.content)
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
        exchange: Instead of the network, for tests.
        connections: How many requests may go on at the same time.
    """

    def __init__(self, url: str, *, exchange: Exchange | None = None, connections: int = 32) -> None:
        self.url = url
        self._own = HttpExchange(url, connections, (_CONNECT, _ANSWER))
        self._exchange = exchange or self._own
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="flink")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Requests that nobody waits for any more end by their own time limits.
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._own.close()

    async def send(self, call: Call[T]) -> T:
        """As `FlinkClient.send`."""
        target = f"{call.path}?{urlencode(call.params, safe=',')}" if call.params else call.path
        body = None if call.body is None else json.dumps(call.body).encode()
        loop = asyncio.get_running_loop()
        for pause in (*_PAUSES, None):
            try:
                answer = await loop.run_in_executor(self._threads, self._exchange, call.method, target, body)
                return _read(self.url, call, *answer)
            except NoAnswerError as error:
                failure = _unreachable(self.url, call, error)
            except UnreachableError as error:
                failure = error
            if pause is None or not call.repeatable:
                raise failure
            await asyncio.sleep(pause)
        raise AssertionError  # the last pause is None


def _unreachable(url: str, call: Call[T], error: httpx.TransportError | NoAnswerError) -> UnreachableError:
    reason = str(error) or type(error).__name__
    return UnreachableError(
        f"Flink at {url} does not answer ({call.method} {call.path}: {reason})",
        remedy="start the cluster, or correct flink.url in the deployment file",
    )


def _read(url: str, call: Call[T], status: int, content: bytes) -> T:
    """What an answer means."""
    if status >= _REFUSED:
        raise _failure(url, call, status, content)
    try:
        return call.answer.validate_json(content or b"null")
    except ValidationError as error:
        raise FlinkError(
            f"Flink at {url}: {call.path}: an answer of another shape than Flink 2.3's: {error.errors()[0]['msg']}",
            remedy="check that the address is a Flink cluster of a supported version",
        ) from error


def _failure(url: str, call: Call[T], status: int, content: bytes) -> FlinkError | UnreachableError:
    """The error that an answer of status 400 or above stands for.

    A server error that is not about the job's existence (a JobManager that is starting, a timeout between Flink's own
    parts, a proxy) may be over in a moment.
    """
    text = _errors(content)
    what = f"{call.method} {call.path}: {_first_words(text) or status}"
    if _NO_SUCH_JOB.search(text):
        return JobNotFoundError(f"Flink at {url}: {what}")
    if status >= _SERVER_ERROR:
        return UnreachableError(
            f"Flink at {url} is not ready: {status} for {what}", remedy="see the JobManager's log if it stays so"
        )
    if status == _NOT_FOUND and _BAD_REQUEST in text:
        return FlinkError(f"Flink at {url}: {call.method} {call.path}: it can't decode the request", status=400)
    if status in _NOT_ALLOWED:
        remedy = "give flink.url in the deployment file a user and password that may, or open the proxy before it"
        return FlinkError(f"Flink at {url} refuses: {status} for {what}", status=status, remedy=remedy)
    return FlinkError(f"Flink at {url}: {what}", status=status)


def _errors(content: bytes) -> str:
    """The texts of a refusal; the body's beginning where it is not Flink's."""
    try:
        return "\n".join(map(str, json.loads(content)["errors"])).replace("\\n", "\n")
    except (ValueError, KeyError, TypeError):
        return content.decode(errors="replace")[:200]


def _first_words(text: str) -> str:
    """The line that tells most: of the innermost exception, or the first."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line for line in lines if "Exception" in line]
    words = causes[-1] if causes else lines[0] if lines else ""
    return words.removeprefix("<Exception on server side:")[:300]
