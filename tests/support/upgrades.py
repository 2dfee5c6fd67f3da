"""Releases that fail at their gates, and the lines that arrive while they are deployed."""

from tests.support.repeating import Repeating
from tests.support.windowed import alive, base, produce

SHORT = "health: {start_timeout: 15s}"
"""For the release that fails: the one before has the time that it needs on a busy machine."""
# A tenth of a second or more for each record: the pattern tries every way to share the letters out; the reference keeps
# Java from remembering those that it has tried.
SLOW = "AND REGEXP_REPLACE(REPEAT(id, 24), '(a+)+b\\\\1', '') <> ''"


def section(lab, name, *lines):
    """The job's section of the deployment file; of the job's own file this process keeps what it has imported."""
    lab.deployment("\n    ".join((f"jobs:\n  {name}:\n    parallelism: 1", *lines)))


def assert_is_back(lab, name, result, words):
    assert result.outcome == "rolled_back"
    assert words in str(result.error)
    assert "release 1 runs again" in str(result.error)
    assert alive(lab, name) == [result.flink_job_id]
    assert lab.project.ledger.placement(name).release == 1


class Trickle(Repeating):
    """Writes `each` lines into the open window at each step."""

    def __init__(self, lab, name, pause, each=1):
        super().__init__(pause)
        self._lab, self._name, self._each = lab, name, each
        self.sent = 0

    def step(self):
        produce(self._lab, self._name, *[("a", base() + 5)] * self._each)
        self.sent += self._each
