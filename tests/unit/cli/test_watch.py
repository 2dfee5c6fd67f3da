"""`sluice status --watch`: look after look, each compared with one of before, until somebody interrupts it."""

import io
import json

import pytest
from rich.console import Console

from sluice.cli import fleet
from sluice.fleet.rows import JobObservation, JobStatus
from sluice.flink.models import JobState
from sluice.health.snapshot import Snapshot

LOOKS = 4


class Project:
    """Counts how often it is read anew: files change while somebody watches."""

    read = 0

    def reread(self):
        Project.read += 1
        return self


@pytest.fixture
def watched(monkeypatch):
    """Watches jobs with the arguments of `watch_fleet` for some looks, five seconds apart; what each was given."""
    looks, moment = [], [1_000.0]

    def observe(_project, jobs, previous):
        looks.append((list(jobs), dict(previous)))
        # It takes two seconds.
        moment[0] += 2
        number = len(looks)
        seen = Snapshot(int(moment[0] * 1000), JobState.RUNNING, "f")
        return [JobObservation(JobStatus("a", "RUNNING", verdict="healthy", consumer_lag=number), seen)]

    def sleep(seconds):
        assert seconds == 3.0
        moment[0] += seconds
        if len(looks) == LOOKS:
            raise KeyboardInterrupt

    monkeypatch.setattr(fleet, "observe", observe)
    monkeypatch.setattr(fleet, "last_snapshots", lambda _project: {"a": Snapshot(990_000, JobState.RUNNING, "f")})
    monkeypatch.setattr(fleet.time, "sleep", sleep)
    monkeypatch.setattr(fleet.time, "monotonic", lambda: moment[0])
    monkeypatch.setattr(fleet.time, "time_ns", lambda: int(moment[0] * 1e9))
    monkeypatch.setattr(Project, "read", 0)

    def watch(**more):
        with pytest.raises(KeyboardInterrupt):
            fleet.watch_fleet(Project(), ["a"], 5, **more)
        return looks

    return watch


def test_each_look_is_a_line_of_json_and_the_files_are_read_anew(watched, capsys):
    looks = watched(json=True)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [[(row["job"], row["consumer_lag"]) for row in line] for line in lines] == [
        [("a", number)] for number in range(1, LOOKS + 1)
    ]
    assert Project.read == LOOKS
    assert {tuple(jobs) for jobs, _ in looks} == {("a",)}


def test_a_look_is_compared_with_one_that_is_old_enough(watched):
    """The first with the last sweep; metrics that are seconds old say nothing of how fast it goes."""
    looks = watched(json=True)
    assert [previous["a"].at_ms for _, previous in looks] == [990_000, 990_000, 990_000, 1_002_000]


def test_without_json_one_table_changes(watched, monkeypatch):
    screen = io.StringIO()
    monkeypatch.setattr(fleet, "console", Console(file=screen, force_terminal=True, width=200))
    watched(json=False)
    assert screen.getvalue().count("RUNNING") >= LOOKS
