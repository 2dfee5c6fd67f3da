"""A time limit for an import in this process: a file that passed the import check may hang later."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

_SECONDS = 10.0
"""Seconds for one import on a machine that is not overloaded."""
_LONGEST = 2.0
"""Factor by which an overloaded machine extends the limit at most; Airflow allows a DAG file 30 s in all."""


def usual_limit() -> float:
    """Seconds for one import: 10, and up to 20 on an overloaded machine, by its load per core."""
    return _SECONDS * min(_LONGEST, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


class TooLongError(BaseException):
    """The time limit has passed. Not an Exception, since the file could catch that."""


@contextlib.contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise in the block when the time limit has passed.

    Without effect outside the main thread, or if a shorter timer is set, as Airflow may do.

    Args:
        seconds: The limit.

    Raises:
        TooLongError: the limit has passed.
    """
    if threading.current_thread() is not threading.main_thread():
        # Only the main thread receives signals.
        yield
        return
    before, _ = signal.getitimer(signal.ITIMER_REAL)
    if 0 < before <= seconds:
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError(f"the import took longer than {seconds:.2g} s; move slow code into the pipeline function")

    began, former = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if former is None else former)
        if before:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, before - (time.monotonic() - began)))
