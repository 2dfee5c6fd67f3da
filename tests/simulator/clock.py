"""A clock that jumps ahead instead of waiting."""

import asyncio
import threading
from datetime import datetime, timedelta

from sluice.clock import Clock


class SimulatedClock(Clock):
    """The machine's clock, ahead by the time that was waited for. Thread-safe.

    Attributes:
        waited: Seconds that were waited for in total.
    """

    def __init__(self) -> None:
        self.waited = 0.0
        self._lock = threading.Lock()

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=self.waited)

    def monotonic(self) -> float:
        return super().monotonic() + self.waited

    def sleep(self, seconds: float) -> None:
        with self._lock:
            self.waited += max(0.0, seconds)

    async def pause(self, seconds: float) -> None:
        self.sleep(seconds)
        # Let other coroutines run.
        await asyncio.sleep(0)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        if not event.is_set():
            self.sleep(seconds)
        return event.is_set()
