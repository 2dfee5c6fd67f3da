"""Looking at the fleet again and again while a test goes on."""

import threading
import time

from sluice.fleet.members import all_names, read_members
from sluice.fleet.status import observe_members
from sluice.fleet.sweep import SweepBudget
from sluice.health.trend import choose_previous

PATIENCE = 90.0
"""Seconds until what is expected must have been seen."""


class Watch:
    """Looks again and again, as `sluice status --watch` does, and remembers when it saw what.

    Args:
        read_project: Gives the project, read anew.
    """

    def __init__(self, read_project):
        self._read_project = read_project
        self.seen = []
        self._earlier = {}
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._over.wait(0.5):
            now = time.time_ns() // 1_000_000
            former = {job: choose_previous(taken, now) for job, taken in self._earlier.items()}
            project = self._read_project()
            members = read_members(project, all_names(project), former)
            for row in observe_members(project, members, budget=SweepBudget(job_timeout_s=2)):
                self.seen.append((time.monotonic(), row.status))
                if row.snapshot:
                    self._earlier.setdefault(row.status.job, []).append(row.snapshot)

    def until(self, job, condition, since=0.0):
        """The first row of a job, looked at since that moment, for which the condition holds; and when it was seen."""

        def find():
            if not self._thread.is_alive():
                raise AssertionError("the watch has ended")
            return next(
                ((at, row) for at, row in list(self.seen) if at > since and row.job == job and condition(row)), None
            )

        def last():
            return next((row for _, row in reversed(self.seen) if row.job == job), None)

        deadline = time.monotonic() + PATIENCE
        while (found := find()) is None:
            assert time.monotonic() < deadline, f"the last of {job}: {last()}"
            time.sleep(0.1)
        return found

    def end(self):
        self._over.set()
        self._thread.join(30)
