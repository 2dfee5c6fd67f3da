"""Something that is done again and again while a test goes on."""

import threading


class Repeating:
    """Calls `step` on a thread, with a pause before each call; a context manager that waits for the last one.

    Args:
        pause: Seconds before each call.
    """

    def __init__(self, pause):
        self._pause = pause
        self._ends = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._ends.set()
        self._thread.join()

    def _run(self):
        while not self._ends.wait(self._pause):
            self.step()

    def step(self):
        raise NotImplementedError
