"""A limit of time for an import in this process, where a file that was known to end waits for something else."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Iterator
from types import FrameType

SECONDS = 10.0
"""On a machine that is not overloaded."""
_LONGEST = 2.0
"""Times that; Airflow gives a DAG file 30 s in all."""


def slowness() -> float:
    """How many times longer an import may take here: by the processes that wait for each core, twice at most."""
    return min(_LONGEST, max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1)))


class TooLongError(BaseException):
    """The time is up; not an Exception, which the file may catch."""


@contextlib.contextmanager
def time_limit(seconds: float | None = None) -> Iterator[None]:
    """Raise inside once the time is up: in the main thread, and where no shorter limit is set, as Airflow's may be.

    Args:
        seconds: None: ten, and more on a machine that is overloaded.

    Raises:
        TooLongError: the time is up.
    """
    seconds = SECONDS * slowness() if seconds is None else seconds
    if threading.current_thread() is not threading.main_thread():
        # Only that one gets signals.
        yield
        return
    before, _ = signal.getitimer(signal.ITIMER_REAL)
    if 0 < before <= seconds:
        yield
        return

    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TooLongError(f"the import did not end within {seconds:.0f} s; move what waits into the pipeline function")

    began, former = time.monotonic(), signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, signal.SIG_DFL if former is None else former)
        if before:
            signal.setitimer(signal.ITIMER_REAL, max(0.001, before - (time.monotonic() - began)))
