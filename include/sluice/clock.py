"""The clock by which Sluice waits and judges times. A simulated one lets tests wait for hours at once."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime


class Clock:
    """The machine's clock."""

    def now(self) -> datetime:
        """The time of day in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since an arbitrary moment; changes of the time of day don't affect it."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait."""
        time.sleep(seconds)

    async def pause(self, seconds: float) -> None:
        """Wait in a coroutine."""
        await asyncio.sleep(seconds)

    def wait(self, event: threading.Event, seconds: float) -> bool:
        """Wait until the event is set, for at most so many seconds; whether it is set."""
        return event.wait(seconds)

    def wait_for(self, condition: Callable[[], bool], *, within: float, pause: float) -> bool:
        """Evaluate a condition until it is true; False: it was not within so many seconds.

        Args:
            condition: What is waited for; evaluated at least once.
            within: The time limit in seconds.
            pause: Seconds between two evaluations.
        """
        until = self.monotonic() + within
        while not condition():
            if self.monotonic() >= until:
                return False
            self.sleep(pause)
        return True


MACHINE = Clock()
"""The default where no clock is passed in."""
