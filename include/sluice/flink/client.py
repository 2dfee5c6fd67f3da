"""Clients of the REST API, blocking and asynchronous, and the interpretation of error responses."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlencode

from pydantic import ValidationError

from sluice.clock import MACHINE, Clock
from sluice.errors import FlinkError, JobNotFoundError, NotFlinkError, TriggerNotFoundError, UnreachableError
from sluice.flink.access import Access
from sluice.flink.calls import Call
from sluice.flink.exchange import Exchange, HttpExchange, NoAnswerError, TlsError
from sluice.flink.models import JobConfig, JobDetail

T = TypeVar("T")

_CONNECT, _ANSWER = 5.0, 10.0
"""Seconds to connect, and to wait for an answer."""
_PAUSES = (0.2, 0.5, 1.0)
"""Seconds between the attempts of a repeatable call."""
_CONNECTIONS = 32
"""How many requests of a client may be in progress at the same time."""
_NO_SUCH_JOB = re.compile(
    r"(?:FlinkJobNotFoundException: Could not find Flink job \(|\bJob )([0-9a-f]{32})(?:\)| not found)"
)
"""How Flink 2.3 reports an unknown job: `/jobs/<id>/status` answers 500 with the first text, `/jobs/<id>` and the paths
below it answer 404 with the second. The id must be that of the request. Other 404 answers say nothing about a job."""
_NOTHING_TO_CANCEL = "RestHandlerException: Job could not be found"
"""How Flink 2.3 answers the cancellation of an unknown job, with a 404: the only such answer without the job's id."""
_NO_SUCH_TRIGGER = re.compile(r"There is no (?:savepoint|checkpoint) operation with triggerId=([0-9a-f]{32}) for job")
"""How Flink 2.3 answers, with a 404, for a trigger that it never received or whose result has expired."""
_REDIRECT, _REFUSED, _NOT_FOUND, _SERVER_ERROR = 300, 400, 404, 500
_NOT_ALLOWED = (401, 403)
_BAD_REQUEST = "/bad-request"
"""The path to which Flink's server redirects requests that it can't decode, for instance with a request line of over
4,096 bytes; it then answers that the file doesn't exist."""


class FlinkClient:
    """A blocking client of a cluster's REST API. Thread-safe; a context manager.

    Args:
        access: How to reach the cluster; or its address, e.g. http://127.0.0.1:8081.
        exchange: Sends the requests; None: over HTTP.
        pauses: Seconds between the attempts of a repeatable call.
        clock: The clock by which callers wait for the cluster.

    Attributes:
        url: The address.
        clock: See above.

    Raises:
        ConfigError: a certificate file can't be used.
    """

    def __init__(
        self,
        access: Access | str,
        *,
        exchange: Exchange | None = None,
        pauses: Sequence[float] = _PAUSES,
        clock: Clock = MACHINE,
    ) -> None:
        access = Access.of(access) if isinstance(access, str) else access
        self.url = access.url
        self.clock = clock
        self._pauses = tuple(pauses)
        self._own = HttpExchange(access, _CONNECTIONS, (_CONNECT, _ANSWER))
        self._exchange = exchange or self._own
        self._is_closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; calls in progress are not repeated."""
        self._is_closed.set()
        self._own.close()

    def send(self, call: Call[T]) -> T:
        """Send a call and return its answer; repeatable calls are sent again after transient errors.

        Raises:
            UnreachableError: no answer, a server error, or an answer that isn't Flink's. Nothing follows for any job.
            JobNotFoundError: the cluster doesn't know the job.
            TriggerNotFoundError: the cluster doesn't know the trigger of the savepoint or checkpoint.
            FlinkError: the cluster refused the request.
        """
        target = f"{call.path}?{urlencode(call.params, safe=',')}" if call.params else call.path
        body = None if call.body is None else json.dumps(call.body).encode()
        for pause in (*self._pauses, None):
            try:
                return _read(self.url, call, *self._exchange(call.method, target, body))
            except NoAnswerError as error:
                failure = _unreachable(self.url, call, error)
            except UnreachableError as error:
                failure = error
            if pause is None or not call.repeatable or self.clock.wait(self._is_closed, pause):
                raise failure
        raise AssertionError  # the last pause is None


class AsyncFlinkClient:
    """An asynchronous client: runs a `FlinkClient` on a thread pool. An async context manager, which closes both.

    Args:
        client: The blocking client.
    """

    def __init__(self, client: FlinkClient) -> None:
        self._client = client
        self.url = client.url
        self.clock = client.clock
        self._threads = ThreadPoolExecutor(_CONNECTIONS, thread_name_prefix="flink")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Don't wait for requests in progress: they end by their own timeouts.
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def send(self, call: Call[T]) -> T:
        """As `FlinkClient.send`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._client.send, call)


def _unreachable(url: str, call: Call[T], error: NoAnswerError) -> UnreachableError:
    reason = str(error) or type(error).__name__
    if isinstance(error, TlsError):
        return UnreachableError(
            f"Flink at {url}: no TLS connection ({call.method} {call.path}: {reason})",
            remedy="set the connection's ca_bundle to the CA of the cluster's certificate, and client_certificate if "
            "the cluster asks for one; use http for a cluster without TLS",
        )
    return UnreachableError(
        f"Flink at {url} does not answer ({call.method} {call.path}: {reason})",
        remedy="start the cluster, or correct flink.url (or the connection) in the deployment file",
    )


def _read(url: str, call: Call[T], status: int, content: bytes) -> T:
    """The validated answer, or the error that a response means."""
    if status >= _REDIRECT:
        raise _failure(url, call, status, content)
    try:
        answer = call.answer.validate_json(content or b"null")
    except ValidationError as error:
        if not _is_json(content):
            raise _not_flink(url, call, status, content) from error
        raise FlinkError(
            f"Flink at {url}: {call.path}: the answer is not as Flink 2.3 gives it: {error.errors()[0]['msg']}",
            remedy="check that the address is a Flink cluster of a supported version",
        ) from error
    if isinstance(answer, JobDetail | JobConfig) and answer.id != call.job_id:
        raise NotFlinkError(f"Flink at {url}: {call.path}: the answer is about Flink job {answer.id}", status=status)
    return answer


def _failure(url: str, call: Call[T], status: int, content: bytes) -> FlinkError | UnreachableError:
    """The error for a response of status 300 or above.

    Only an answer of Flink itself counts as a refusal, and only one that names the requested job is about that job.
    Other server errors (a JobManager that is starting, a timeout between Flink's components) and the answers of proxies
    are transient.
    """
    text = _errors(content)
    words = _first_words(content.decode(errors="replace") if text is None else text)
    what = f"{call.method} {call.path}: {words or status}"
    failure: FlinkError | UnreachableError
    if status in _NOT_ALLOWED:
        remedy = "set a login with the permission in the Flink connection, or in flink.url of the deployment file"
        failure = FlinkError(f"Flink at {url} denies access: {status} for {what}", status=status, remedy=remedy)
    elif _is_about(call, text or ""):
        failure = JobNotFoundError(f"Flink at {url}: {what}")
    elif status >= _SERVER_ERROR:
        failure = UnreachableError(
            f"Flink at {url} is not ready: {status} for {what}", remedy="if this persists, see the JobManager's log"
        )
    elif text is None:
        failure = _not_flink(url, call, status, content)
    elif status == _NOT_FOUND and _BAD_REQUEST in text:
        failure = FlinkError(f"Flink at {url}: {call.method} {call.path}: can't decode the request", status=400)
    elif (trigger := _NO_SUCH_TRIGGER.search(text)) and call.path.endswith(f"/{trigger[1]}"):
        failure = TriggerNotFoundError(f"Flink at {url}: {what}")
    else:
        failure = FlinkError(f"Flink at {url}: {what}", status=status)
    return failure


def _is_about(call: Call[T], text: str) -> bool:
    """Whether Flink answers that it does not know the requested job."""
    if call.job_id is None:
        return False
    if call.method == "PATCH" and _NOTHING_TO_CANCEL in text:
        return True
    return call.job_id in _NO_SUCH_JOB.findall(text)


def _not_flink(url: str, call: Call[T], status: int, content: bytes) -> NotFlinkError:
    words = " ".join(content.decode(errors="replace").split())[:80]
    return NotFlinkError(
        f"the server at {url} does not answer as Flink does: {status} for {call.method} {call.path}, "
        f"{f'body {words!r}' if words else 'empty body'}",
        status=status,
    )


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _errors(content: bytes) -> str | None:
    """The error messages in a response of Flink; None: the response isn't Flink's."""
    try:
        found = json.loads(content)["errors"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        return None
    return "\n".join(found).replace("\\n", "\n")


def _first_words(text: str) -> str:
    """The most specific line of an error: the innermost exception, otherwise the first line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line for line in lines if "Exception" in line]
    words = causes[-1] if causes else lines[0] if lines else ""
    return words.removeprefix("<Exception on server side:")[:300]
