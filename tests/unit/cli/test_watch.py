"""`sluice status --watch` observes the jobs repeatedly, and compares each observation with an earlier one."""

import io
import json
from datetime import timedelta
from itertools import pairwise

import pytest
from rich.console import Console

from sluice.cli.fleet import watch_fleet
from sluice.fleet.readings import to_sample
from sluice.fleet.rows import JobObservation, JobStatus
from sluice.flink.models import JobState
from sluice.health.snapshot import Snapshot
from sluice.job.duration import epoch_milliseconds
from tests.simulator.clock import SimulatedClock
from tests.simulator.simulated import Simulated

OBSERVATIONS = 4


class InterruptedClock(SimulatedClock):
    """A clock whose waits are interrupted, as by Ctrl-C, at the last observation."""

    pauses = 0

    def sleep(self, seconds):
        self.pauses += 1
        if self.pauses == OBSERVATIONS:
            raise KeyboardInterrupt
        super().sleep(seconds)


def observation(snapshot, lag=0):
    return JobObservation(JobStatus("a", "RUNNING", verdict="healthy", consumer_lag=lag), snapshot)


class Watched:
    """A watch of the job `a` every five seconds.

    Attributes:
        observations: The arguments of each observation: project, names, earlier snapshots.
        taken: The snapshots that were taken.
        last: The snapshot of the last sweep, ten seconds before.
    """

    def __init__(self, root):
        self.clock, self.observations, self.taken = InterruptedClock(), [], []
        self.simulated = Simulated(root, self.clock)
        self.last = self._snapshot(-10)
        sample = to_sample("test", observation(self.last), self.clock.now(), None)
        self.simulated.ledger.samples.add([sample], older_than=self.clock.now() - timedelta(days=1))

    def _snapshot(self, seconds=0):
        return Snapshot(epoch_milliseconds(self.clock.now()) + 1_000 * seconds, JobState.RUNNING, "f")

    def _observe(self, project, jobs, previous):
        self.observations.append((project, list(jobs), dict(previous)))
        # An observation takes two seconds.
        self.clock.waited += 2
        self.taken.append(self._snapshot())
        return [observation(self.taken[-1], len(self.taken))]

    def run(self, **more):
        with pytest.raises(KeyboardInterrupt):
            watch_fleet(self.simulated.project, ["a"], 5, observe=self._observe, **more)


@pytest.fixture
def watched(tmp_path):
    return Watched(tmp_path)


def test_each_observation_is_a_line_of_json_of_files_that_are_read_again(watched, capsys):
    watched.run(json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [[(row["job"], row["consumer_lag"]) for row in line] for line in lines] == [
        [("a", number)] for number in range(1, OBSERVATIONS + 1)
    ]
    projects = {id(project) for project, _, _ in watched.observations}
    assert len(projects) == OBSERVATIONS
    assert {tuple(jobs) for _, jobs, _ in watched.observations} == {("a",)}


def test_observations_begin_every_five_seconds(watched):
    watched.run(json=True)
    moments = [taken.at_ms for taken in watched.taken]
    assert all(5_000 <= later - earlier < 6_000 for earlier, later in pairwise(moments))


def test_an_observation_is_compared_with_one_that_is_old_enough(watched):
    """The first ones with the last sweep: changes within seconds show no trend."""
    watched.run(json=True)
    previous = [earlier["a"].at_ms for _, _, earlier in watched.observations]
    assert previous == [*[watched.last.at_ms] * 3, watched.taken[0].at_ms]


def test_without_json_one_table_changes(watched):
    screen = Console(file=io.StringIO(), force_terminal=True, width=200)
    watched.run(json=False, screen=screen)
    assert screen.file.getvalue().count("RUNNING") >= OBSERVATIONS
