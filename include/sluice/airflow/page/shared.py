"""Slow readings of the page: one at a time for each question, shared by all who ask, and no request waits for long.

A route that waits in a thread of Airflow's API server keeps that thread from every other request, Airflow's own among
them, and there are 40. So a reading has a thread of its own, and a request waits for it without one.
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
    """The answer isn't there yet.

    Args:
        retry_after: Seconds after which to ask again.
    """

    def __init__(self, words: str, retry_after: int) -> None:
        super().__init__(words)
        self.retry_after = retry_after


@dataclass
class _Reading:
    result: Future[Any] = field(default_factory=Future)
    has_refused: bool = False
    """Somebody was sent away before it was done, and asks again."""
    ended_at: float = 0.0


class SharedReadings:
    """Readings by what is asked.

    Args:
        at_once: So many go on side by side.
        pending: So many go on or wait for their turn; one more is refused.
        patience: Seconds that a request waits.
        kept: Seconds that an answer stays for those who were refused before it was there. Otherwise each request that
            comes after the end of a reading gets a new one.
        retry_after: Seconds after which a request that was refused is asked to come again.
    """

    def __init__(
        self, *, at_once: int = 2, pending: int = 8, patience: float = 5.0, kept: float = 10.0, retry_after: int = 2
    ) -> None:
        self._turn = BoundedSemaphore(at_once)
        self._pending = pending
        self._patience = patience
        self._kept = kept
        self._retry_after = retry_after
        self._readings: dict[Hashable, _Reading] = {}
        self._lock = Lock()

    async def get(self, question: Hashable, read: Callable[[], T]) -> T:
        """What `read` returns or raises, read once for all who ask the same at the same time.

        Raises:
            BusyError: the answer isn't there in time, or too many readings wait for their turn.
        """
        reading = self._find(question, read)
        waiting = asyncio.wrap_future(reading.result)
        try:
            await asyncio.wait({waiting}, timeout=self._patience)
        finally:
            waiting.cancel()
        if not reading.result.done():
            reading.has_refused = True
            raise BusyError(f"the files are still being read; ask again in {self._retry_after} s", self._retry_after)
        return cast("T", reading.result.result())

    def _find(self, question: Hashable, read: Callable[[], T]) -> _Reading:
        now = time.monotonic()
        with self._lock:
            self._readings = {each: found for each, found in self._readings.items() if self._is_usable(found, now)}
            if reading := self._readings.get(question):
                return reading
            if sum(not each.result.done() for each in self._readings.values()) >= self._pending:
                raise BusyError(
                    f"the server reads the files of {self._pending} other questions; ask again in "
                    f"{self._retry_after} s",
                    self._retry_after,
                )
            reading = self._readings[question] = _Reading()
        # From here on it can't be cancelled by one of those who wait for it.
        reading.result.set_running_or_notify_cancel()
        # A daemon: a reading that goes on doesn't keep the server from ending.
        thread = Thread(target=self._run, args=(reading, read), name="sluice-page-reading", daemon=True)
        try:
            thread.start()
        except RuntimeError as error:
            # The machine has no thread left: a reading that never ends would keep its place for ever.
            reading.result.set_exception(error)
            raise BusyError(
                f"the server has no thread left; ask again in {self._retry_after} s", self._retry_after
            ) from error
        return reading

    def _is_usable(self, reading: _Reading, now: float) -> bool:
        return not reading.result.done() or (reading.has_refused and now - reading.ended_at < self._kept)

    def _run(self, reading: _Reading, read: Callable[[], Any]) -> None:
        try:
            with self._turn:
                value = read()
        except BaseException as error:  # noqa: BLE001 - handed to all who wait
            reading.ended_at = time.monotonic()
            reading.result.set_exception(error)
        else:
            reading.ended_at = time.monotonic()
            reading.result.set_result(value)
