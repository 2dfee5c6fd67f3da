"""Waiting for what happens: a wait ends by its cause, and no machine is too slow for it."""

import time
from typing import Any

STUCK = 600.0
"""Seconds without any change in what is watched, after which a wait is given up. No test depends on it: it is far more
than anything here takes on a busy machine, and only keeps a run that hangs from going on for ever."""


def wait_for(
    condition,
    message: str = "it did not happen",
    *,
    watched=lambda: None,
    lost=lambda: None,
    pause: float = 0.5,
) -> Any:
    """Ask until the answer is true; returns it.

    Args:
        condition: What is asked.
        message: What to say where it doesn't come about.
        watched: A value that changes for as long as things go on; it is told where they no longer do.
        lost: Why the condition can't come true any more; None: it can.
        pause: Seconds between two questions.
    """
    seen, since = watched(), time.monotonic()
    while not (answer := condition()):
        if (now := watched()) != seen:
            seen, since = now, time.monotonic()
        # A cause that came up after the question is no reason to give up: the answer may be true by now.
        if (cause := lost()) and not (answer := condition()):
            raise AssertionError(f"{message}: {cause}")
        if answer:
            return answer
        if time.monotonic() - since > STUCK:
            raise AssertionError(f"{message}: nothing has changed for {STUCK:.0f} s" + (f": {seen}" if seen else ""))
        time.sleep(pause)
    return answer
