"""Slow readings of the page: requests for the same thing share one reading, and each request waits a few seconds.

A route that waits in a thread of Airflow's API server blocks one of its 40 threads, which Airflow's own requests need,
too. So a reading has a thread of its own, and a request awaits it without one.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Hashable
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import BoundedSemaphore, Lock, Thread
from typing import Any, TypeVar, cast

T = TypeVar("T")


class BusyError(Exception):
    """The reading isn't done yet.

    Args:
        words: The message.
        retry_after: Seconds after which to request it again.
    """

    def __init__(self, words: str, retry_after: int) -> None:
        super().__init__(words)
        self.retry_after = retry_after


@dataclass
class _Reading:
    result: Future[Any] = field(default_factory=Future)
    has_refused: bool = False
    """Whether a request was refused before the reading was done; it will come again."""
    ended_at: float = 0.0


class SharedReadings:
    """Readings by their question.

    Args:
        at_once: The maximum number of readings that run at the same time.
        pending: The maximum number of readings that run or are queued; further ones are refused.
        patience: Seconds that a request waits.
        kept: Seconds for which a result is kept for the next request, if a request was refused while it was read.
            Otherwise a request after the end of a reading starts a new one.
        retry_after: The Retry-After of refused requests, in seconds.
        thread: Makes the thread of a reading.
    """

    def __init__(
        self,
        *,
        at_once: int = 2,
        pending: int = 8,
        patience: float = 5.0,
        kept: float = 10.0,
        retry_after: int = 2,
        thread: Callable[..., Thread] = Thread,
    ) -> None:
        self._thread = thread
        self._slots = BoundedSemaphore(at_once)
        self._pending = pending
        self._patience = patience
        self._kept = kept
        self._retry_after = retry_after
        self._readings: dict[Hashable, _Reading] = {}
        self._lock = Lock()

    async def get(self, question: Hashable, read: Callable[[], T]) -> T:
        """The result of `read`, called once for all concurrent requests with the same question.

        Raises:
            BusyError: the reading has not ended in time, or too many readings are queued.
            Exception: whatever `read` raises.
        """
        reading = self._find(question, read)
        waiting = asyncio.wrap_future(reading.result)
        try:
            await asyncio.wait({waiting}, timeout=self._patience)
        finally:
            waiting.cancel()
        if not reading.result.done():
            reading.has_refused = True
            raise BusyError(f"the files are still being read; try again in {self._retry_after} s", self._retry_after)
        return cast("T", reading.result.result())

    def _find(self, question: Hashable, read: Callable[[], T]) -> _Reading:
        now = time.monotonic()
        with self._lock:
            self._readings = {each: found for each, found in self._readings.items() if self._is_usable(found, now)}
            if reading := self._readings.get(question):
                return reading
            if sum(not each.result.done() for each in self._readings.values()) >= self._pending:
                raise BusyError(
                    f"the server is reading the files for {self._pending} other requests; try again in "
                    f"{self._retry_after} s",
                    self._retry_after,
                )
            reading = self._readings[question] = _Reading()
        # A running future can't be cancelled by one of the requests that await it.
        reading.result.set_running_or_notify_cancel()
        # A daemon: an unfinished reading doesn't keep the server from ending.
        thread = self._thread(target=self._run, args=(reading, read), name="sluice-page-reading", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The machine has no thread left; without a result, the reading would count as pending for ever.
            reading.result.set_exception(error)
            raise BusyError(
                f"the server has no thread left; try again in {self._retry_after} s", self._retry_after
            ) from error
        return reading

    def _is_usable(self, reading: _Reading, now: float) -> bool:
        return not reading.result.done() or (reading.has_refused and now - reading.ended_at < self._kept)

    def _run(self, reading: _Reading, read: Callable[[], Any]) -> None:
        try:
            with self._slots:
                value = read()
        except BaseException as error:  # noqa: BLE001 - raised in every request that awaits it
            reading.ended_at = time.monotonic()
            reading.result.set_exception(error)
        else:
            reading.ended_at = time.monotonic()
            reading.result.set_result(value)
