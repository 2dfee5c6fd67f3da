"""Sending calls to a cluster, blocking or not, and what an answer means."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Self, TypeVar
from urllib.parse import urlencode

from pydantic import ValidationError

from sluice.errors import FlinkError, JobNotFoundError, NotFlinkError, TriggerNotFoundError, UnreachableError
from sluice.flink.access import Access
from sluice.flink.calls import Call
from sluice.flink.exchange import Exchange, HttpExchange, NoAnswerError, NoTrustError
from sluice.flink.models import JobConfig, JobDetail

T = TypeVar("T")

_CONNECT, _ANSWER = 5.0, 10.0
"""Seconds until a connection must stand, and until an answer must have come."""
_PAUSES = (0.2, 0.5, 1.0)
"""Seconds between attempts of a repeatable call."""
_NO_SUCH_JOB = re.compile(
    r"(?:FlinkJobNotFoundException: Could not find Flink job \(|\bJob )([0-9a-f]{32})(?:\)| not found)"
)
"""How Flink 2.3 says so: `/jobs/<id>/status` by a 500 with the first, `/jobs/<id>` and what lies below by a 404 with
the second. It counts for the job that was asked for alone. Other 404s say nothing about a job."""
_NOTHING_TO_CANCEL = "RestHandlerException: Job could not be found"
"""How Flink 2.3 answers a cancellation, by a 404: the one answer that does not name the job."""
_NO_SUCH_TRIGGER = re.compile(r"There is no (?:savepoint|checkpoint) operation with triggerId=([0-9a-f]{32}) for job")
"""How Flink 2.3 says by a 404 that it never got a trigger, or has forgotten its result."""
_REDIRECT, _REFUSED, _NOT_FOUND, _SERVER_ERROR = 300, 400, 404, 500
_NOT_ALLOWED = (401, 403)
_BAD_REQUEST = "/bad-request"
"""Where Flink's server sends what it can't decode, a request line of over 4,096 bytes for instance; it then answers
that there is no such file."""


class FlinkClient:
    """A cluster's REST API, blocking; from any number of threads. A context manager.

    Args:
        access: The cluster; or its address, e.g. http://127.0.0.1:8081.
        exchange: Instead of the network, for tests.
        connections: How many requests may go on at the same time.

    Raises:
        ConfigError: a file with certificates can't be used.
    """

    def __init__(self, access: Access | str, *, exchange: Exchange | None = None, connections: int = 4) -> None:
        access = Access.of(access) if isinstance(access, str) else access
        self.url = access.url
        self._own = HttpExchange(access, connections, (_CONNECT, _ANSWER))
        self._exchange = exchange or self._own
        self._is_closed = threading.Event()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; calls that go on are not tried again."""
        self._is_closed.set()
        self._own.close()

    def send(self, call: Call[T]) -> T:
        """The answer to a call; repeatable ones are tried again on transient errors.

        Raises:
            UnreachableError: no answer, or not now, or not Flink's. It says nothing about any job.
            JobNotFoundError: the cluster doesn't know the job.
            TriggerNotFoundError: it doesn't know the savepoint or checkpoint that was triggered.
            FlinkError: the cluster said no.
        """
        target = f"{call.path}?{urlencode(call.params, safe=',')}" if call.params else call.path
        body = None if call.body is None else json.dumps(call.body).encode()
        for pause in (*_PAUSES, None):
            try:
                return _read(self.url, call, *self._exchange(call.method, target, body))
            except NoAnswerError as error:
                failure = _unreachable(self.url, call, error)
            except UnreachableError as error:
                failure = error
            if pause is None or not call.repeatable or self._is_closed.wait(pause):
                raise failure
        raise AssertionError  # the last pause is None


class AsyncFlinkClient:
    """A cluster's REST API for an event loop: a `FlinkClient` on threads of its own. An async context manager.

    Args:
        access: As of `FlinkClient`, and so are the others.
    """

    def __init__(self, access: Access | str, *, exchange: Exchange | None = None, connections: int = 32) -> None:
        self._client = FlinkClient(access, exchange=exchange, connections=connections)
        self.url = self._client.url
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="flink")

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        # Requests that nobody waits for any more end by their own time limits.
        self._threads.shutdown(wait=False, cancel_futures=True)
        self._client.close()

    async def send(self, call: Call[T]) -> T:
        """As `FlinkClient.send`."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._client.send, call)


def _unreachable(url: str, call: Call[T], error: NoAnswerError) -> UnreachableError:
    reason = str(error) or type(error).__name__
    if isinstance(error, NoTrustError):
        return UnreachableError(
            f"Flink at {url}: no TLS connection ({call.method} {call.path}: {reason})",
            remedy="give the connection the ca_bundle that has signed its certificate and the client's own where it "
            "wants one; take http for a cluster without TLS",
        )
    return UnreachableError(
        f"Flink at {url} does not answer ({call.method} {call.path}: {reason})",
        remedy="start the cluster, or correct flink.url in the deployment file or the connection that it names",
    )


def _read(url: str, call: Call[T], status: int, content: bytes) -> T:
    """What an answer means."""
    if status >= _REDIRECT:
        raise _failure(url, call, status, content)
    try:
        answer = call.answer.validate_json(content or b"null")
    except ValidationError as error:
        if not _is_json(content):
            raise _not_flink(url, call, status, content) from error
        raise FlinkError(
            f"Flink at {url}: {call.path}: an answer of another shape than Flink 2.3's: {error.errors()[0]['msg']}",
            remedy="check that the address is a Flink cluster of a supported version",
        ) from error
    if isinstance(answer, JobDetail | JobConfig) and answer.id != call.job_id:
        raise NotFlinkError(f"Flink at {url}: {call.path}: the answer is about Flink job {answer.id}", status=status)
    return answer


def _failure(url: str, call: Call[T], status: int, content: bytes) -> FlinkError | UnreachableError:
    """The error that an answer of status 300 or above stands for.

    Only what Flink itself says is a refusal, and only what it says of the very job that was asked for is about that
    job. A server error that is not about the job's existence (a JobManager that is starting, a timeout between Flink's
    own parts) may be over in a moment, and so may the answer of a proxy.
    """
    text = _errors(content)
    words = _first_words(content.decode(errors="replace") if text is None else text)
    what = f"{call.method} {call.path}: {words or status}"
    failure: FlinkError | UnreachableError
    if status in _NOT_ALLOWED:
        remedy = "give the Flink connection, or flink.url in the deployment file, a login that may"
        failure = FlinkError(f"Flink at {url} refuses: {status} for {what}", status=status, remedy=remedy)
    elif _is_about(call, text or ""):
        failure = JobNotFoundError(f"Flink at {url}: {what}")
    elif status >= _SERVER_ERROR:
        failure = UnreachableError(
            f"Flink at {url} is not ready: {status} for {what}", remedy="see the JobManager's log if it stays so"
        )
    elif text is None:
        failure = _not_flink(url, call, status, content)
    elif status == _NOT_FOUND and _BAD_REQUEST in text:
        failure = FlinkError(f"Flink at {url}: {call.method} {call.path}: it can't decode the request", status=400)
    elif (trigger := _NO_SUCH_TRIGGER.search(text)) and call.path.endswith(f"/{trigger[1]}"):
        failure = TriggerNotFoundError(f"Flink at {url}: {what}")
    else:
        failure = FlinkError(f"Flink at {url}: {what}", status=status)
    return failure


def _is_about(call: Call[T], text: str) -> bool:
    """Whether Flink says that it does not know the job that was asked for."""
    if call.job_id is None:
        return False
    if call.method == "PATCH" and _NOTHING_TO_CANCEL in text:
        return True
    return call.job_id in _NO_SUCH_JOB.findall(text)


def _not_flink(url: str, call: Call[T], status: int, content: bytes) -> NotFlinkError:
    words = " ".join(content.decode(errors="replace").split())[:80]
    return NotFlinkError(
        f"something else than Flink answers at {url}: {status} for {call.method} {call.path}, "
        f"{f'with {words!r}' if words else 'with nothing in it'}, an answer of another shape than Flink 2.3's",
        status=status,
    )


def _is_json(content: bytes) -> bool:
    try:
        json.loads(content)
    except ValueError:
        return False
    return True


def _errors(content: bytes) -> str | None:
    """The texts of a refusal by Flink; None: it is somebody else's."""
    try:
        found = json.loads(content)["errors"]
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        return None
    return "\n".join(found).replace("\\n", "\n")


def _first_words(text: str) -> str:
    """The line that tells most: of the innermost exception, or the first."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    causes = [line for line in lines if "Exception" in line]
    words = causes[-1] if causes else lines[0] if lines else ""
    return words.removeprefix("<Exception on server side:")[:300]
